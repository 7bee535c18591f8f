"""Actions on many tokens reach each once, go on after a killed worker, and say what came of it."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db.models.functions import Now

from providers.models import Provider, TaskProgress
from providers.task_progress import request_stop
from proxysite.testing.rows import move_providers
from tokens.bulk import orders
from tokens.bulk.order import CHECK, DISABLE, MOVE, RESET, Order
from tokens.models import TokenCheck, UpstreamToken
from tokens.tasks import resume_orders
from tokens.tests.listing import serving
from tokens.token_filter import UnknownFilter

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="moonshot", kind="openai_compatible", base_url="https://api.moonshot.ai/v1"
    )


def create_tokens(provider: Provider, count: int, **fields: object) -> None:
    UpstreamToken.objects.bulk_create(
        UpstreamToken.from_secret(provider, f"sk-of-{provider}-number-{n:04}", **fields)
        for n in range(count)
    )


def start(action: str, **more: object) -> TaskProgress:
    return orders.create_order(Order(action, "june", **more), "title", lambda pk: f"/{pk}/")


def finish(row: TaskProgress) -> TaskProgress:
    assert orders.continue_order(row.pk, 60)
    row.refresh_from_db()
    return row


def test_an_order_reaches_every_token_that_matched_although_they_stop_matching(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "WRITE_SLICE", 7)
    create_tokens(provider, 30)
    row = finish(start(DISABLE, query={"is": "usable"}))
    assert UpstreamToken.objects.filter(state="disabled", reason="by june").count() == 30
    assert (row.done, row.total, row.result["outcomes"]) == (30, 30, {"done": 30})
    assert row.finished_at is not None


def test_a_killed_workers_order_is_carried_on_where_it_was(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "WRITE_SLICE", 10)
    create_tokens(provider, 30, strikes=2)
    row = start(RESET)
    assert not orders.continue_order(row.pk, 0)
    row.refresh_from_db()
    assert row.done == 10
    assert resume_orders() == 0  # somebody may be at it
    TaskProgress.objects.update(updated_at=Now() - timedelta(hours=1))
    monkeypatch.setattr("django.conf.settings.ORDER_RUN_SECONDS", 60)
    assert resume_orders() == 1
    row.refresh_from_db()
    assert (row.done, row.result["outcomes"]) == (30, {"done": 30})
    assert not UpstreamToken.objects.filter(strikes__gt=0).exists()


def test_an_order_is_stopped_between_two_slices(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "WRITE_SLICE", 10)
    create_tokens(provider, 30)
    row = start(DISABLE)
    orders.continue_order(row.pk, 0)
    request_stop(row.pk)
    row = finish(row)
    assert (row.done, row.result["stopped"]) == (10, True)
    assert UpstreamToken.objects.filter(state="disabled").count() == 10


def test_an_unknown_filter_is_refused_and_never_left_out(provider: Provider) -> None:
    create_tokens(provider, 3)
    for query in ({"is": "nonsense"}, {"color": "red"}, {"age": ""}, {"provider__id__exact": "x"}):
        with pytest.raises(UnknownFilter):
            start(DISABLE, query=query)
    assert not TaskProgress.objects.exists()


def test_a_check_of_many_says_how_many_work_how_long_it_took_and_why_others_do_not(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "CHECK_SLICE", 4)
    create_tokens(provider, 6)
    with serving("sk-of-moonshot-number-0001", "sk-of-moonshot-number-0002") as upstream:
        move_providers(provider, base_url=upstream.url, allow_private=True)
        row = finish(start(CHECK))
    assert row.result["outcomes"] == {"works": 2, "rejected": 4}
    assert row.result["asked"] == 6
    remarks = row.result["remarks"]
    assert len(remarks) == 4
    assert all(remark["change"].startswith("strike 1 of") for remark in remarks)
    assert "sk-of-moonshot-number" not in str(row.result)
    assert TokenCheck.objects.filter(outcome="works", milliseconds__isnull=False).count() == 2
    failed = TokenCheck.objects.get(token=UUID(remarks[0]["id"]))
    assert (failed.outcome, failed.reason) == ("rejected", remarks[0]["reason"])


def test_a_move_to_a_provider_that_is_gone_ends_with_the_reason(provider: Provider) -> None:
    create_tokens(provider, 2)
    row = finish(start(MOVE, provider_id=4711))
    assert row.failed
    assert "deleted" in row.text
