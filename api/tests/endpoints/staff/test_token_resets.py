"""The staff endpoints reset tokens, by id, by number, of one provider or all."""

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from api.tests.endpoints.staff.staff_endpoints import read_refusal
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from tokens.models import UpstreamToken


# --- resets ---------------------------------------------------------------------------------------
def test_a_token_is_reset_by_its_id_and_by_its_number(request_staff, pooled_provider):
    _, second, third = UpstreamToken.objects.all()
    for name, row in (("1", second), (str(third.pk), third)):
        UpstreamToken.objects.all().mark_disabled("by boss")
        status, found = request_staff(f"tokens/reset/{name}")
        assert (status, found["status"], found.keys()) == (200, "success", {"status", "message"})
        assert list(UpstreamToken.objects.filter(state="active")) == [row]
    assert set(LogEntry.objects.values_list("change_message", flat=True)) == {"Reset."}


@pytest.mark.parametrize(
    "name", ["3", "99999999999999999999", "-1", "second", "٣", "0" * 32, "x" * 300]
)
def test_a_token_that_is_not_there_cannot_be_reset(request_staff, pooled_provider, name):
    assert read_refusal(request_staff(f"tokens/reset/{name}"))


def test_a_number_counts_in_the_list_of_the_provider_that_is_named(request_staff, pooled_provider):
    (row,) = rows.create_tokens(
        rows.create_provider("http://127.0.0.1:9/v1", "other", models=()),
        "sk-other-1",
        state="disabled",
    )
    assert "numbered from 0" in read_refusal(request_staff("tokens/reset/1", provider="other"))
    assert request_staff("tokens/reset/0", provider="other")[0] == 200
    row.refresh_from_db()
    assert row.state == "active"
    assert read_refusal(request_staff(f"tokens/reset/{row.pk}", provider="k2"))


def test_all_tokens_are_reset_or_those_of_one_provider(request_staff, pooled_provider):
    rows.create_tokens(
        rows.create_provider("http://127.0.0.1:9/v1", "other", models=()), "sk-other-1"
    )
    UpstreamToken.objects.update(state="disabled", strikes=3, rests_until=timezone.now())
    status, found = request_staff("tokens/reset-all", provider="other")
    assert (status, found.keys()) == (200, {"status", "message"})
    assert UpstreamToken.objects.filter(state="disabled").count() == 3
    assert "3 of 4" in request_staff("tokens/reset-all")[1]["message"]
    fresh = UpstreamToken.objects.filter(state="active", strikes=0, rests_until=None)
    assert fresh.count() == 4


# --- renewal --------------------------------------------------------------------------------------
async def test_a_body_in_chunks_counts_like_any_other(gateway, operator, upstream, three):
    other = await run_in_thread(rows.create_provider, upstream.url, "other", models=("o",))
    await run_in_thread(rows.create_tokens, other, "sk-other-1")
    await run_in_thread(lambda: UpstreamToken.objects.update(state="disabled"))

    async def pieces():
        yield b'{"provider": '
        yield b'"other"}'

    headers = {"content-type": "application/json"}
    answer = await gateway.send_request(
        "POST", "/admin/tokens/reset-all", operator.key, content=pieces(), headers=headers
    )
    assert answer.status == 200
    active = UpstreamToken.objects.filter(state="active").values_list("provider__name", flat=True)
    assert await run_in_thread(lambda: list(active)) == ["other"]
