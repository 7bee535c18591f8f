"""The staff endpoints check tokens, at once or by the worker."""

import pytest
from django.contrib.admin.models import LogEntry

from api.tests.endpoints.staff.staff_endpoints import SECRETS, read_refusal
from api.views.staff import token_renewal
from providers import vault
from proxysite.testing import rows
from tokens.models import UpstreamToken


@pytest.fixture
def checked_tokens(monkeypatch):
    """Stands for the upstreams: what is asked about works but for the second token, which is
    rejected.
    """
    from tokens.maintenance import token_check

    asked = []

    def check(tokens, **options):
        for row in tokens.order_by("created_at", "pk"):
            asked.append(row.masked)
            yield token_check.Finding(
                row, "rate limited" if row.masked == vault.mask_secret(SECRETS[1]) else "works"
            )

    monkeypatch.setattr(token_check, "check_upstream_tokens", check)
    return asked


def test_few_tokens_are_checked_while_the_caller_waits(
    request_staff, pooled_provider, checked_tokens
):
    status, found = request_staff("tokens/check")
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "data"})
    zeros = dict.fromkeys(
        ("rejected", "unproven", "out_of_quota", "provider_failed", "unreadable", "queued"), 0
    )
    assert found["data"] == {"checked": 3, "works": 2, "rate_limited": 1, **zeros}
    row = UpstreamToken.objects.all()[2]
    for name in (2, "2", str(row.pk)):
        checked_tokens.clear()
        assert request_staff("tokens/check", body={"token": name})[1]["data"]["checked"] == 1
        assert checked_tokens == [row.masked]
    assert read_refusal(request_staff("tokens/check", body={"token": 3}))
    assert request_staff("tokens/check", body={"provider": "k2"})[1]["data"]["checked"] == 3


def test_many_tokens_are_left_to_the_worker(
    request_staff, pooled_provider, checked_tokens, monkeypatch
):
    from tokens import tasks
    from tokens.maintenance import check_now

    left = []
    monkeypatch.setattr(check_now, "MAX_CHECKED_NOW", 2)
    monkeypatch.setattr(check_now, "TOKENS_PER_TASK", 2)
    monkeypatch.setattr(tasks.check, "apply_async", lambda args, options, **how: left.append(*args))
    data = request_staff("tokens/check")[1]["data"]
    assert (data["checked"], data["queued"], checked_tokens) == (0, 3, [])
    ids = {str(row.pk) for row in UpstreamToken.objects.all()}
    assert [len(part) for part in left] == [2, 1]
    assert {one for part in left for one in part} == ids
    assert sum(map(tasks.check, left)) == 2
    assert len(checked_tokens) == 3


def test_a_queue_that_is_away_is_said_in_words(request_staff, pooled_provider, monkeypatch):
    from kombu.exceptions import OperationalError

    from tokens import tasks
    from tokens.maintenance import check_now

    def away(*args, **options):
        assert options["retry"] is False
        raise OperationalError("connection refused")

    monkeypatch.setattr(check_now, "MAX_CHECKED_NOW", 2)
    monkeypatch.setattr(tasks.check, "apply_async", away)
    monkeypatch.setattr(token_renewal.tasks.refresh_pool, "apply_async", away)
    rows.create_tokens(pooled_provider, "sk-renewable-1", sealed_refresh="sealed")
    for path in ("tokens/check", "tokens/updater/force-update"):
        status, found = request_staff(path)
        assert (status, found["status"]) == (503, "error")
        assert "cannot be reached" in found["message"]
    assert not LogEntry.objects.exists()
