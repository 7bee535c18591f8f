"""The staff endpoints show and start the renewal of tokens."""

from datetime import timedelta

from django.utils import timezone

from api.tests.endpoints.staff.staff_endpoints import read_refusal
from api.views.staff import token_renewal
from proxysite.testing import rows
from tokens.models import Refresh


def test_the_renewal_is_disabled_where_nothing_can_be_renewed(request_staff, pooled_provider):
    status, found = request_staff("tokens/updater/status")
    assert (status, found["status"], found.keys()) == (200, "disabled", {"status", "data"})
    data = found["data"]
    assert data.pop("update_interval") > 0
    assert data == {
        "is_running": False,
        "is_updating": False,
        "last_update": None,
        "update_count": 0,
        "error_count": 0,
        "last_error": None,
        "cached_tokens_count": 3,
        "next_update": None,
        "accounts_file_exists": False,
    }
    assert "no token that can be renewed" in read_refusal(
        request_staff("tokens/updater/force-update")
    )


def test_the_renewal_is_told_and_started(
    request_staff, pooled_provider, settings, tmp_path, monkeypatch
):
    started = []
    monkeypatch.setattr(
        token_renewal.tasks.refresh_pool,
        "apply_async",
        lambda args, options, **how: started.append((args, options)),
    )
    ends = timezone.now() + timedelta(days=1)
    rows.create_tokens(pooled_provider, "sk-renewable-1", sealed_refresh="sealed", expires_at=ends)
    settings.RENEW_BEFORE_SECONDS = 600
    settings.ACCOUNTS_FILE = str(tmp_path / "accounts.txt")
    (tmp_path / "accounts.txt").touch()
    now = timezone.now()
    Refresh.objects.create(
        provider=pooled_provider,
        running_until=now + timedelta(minutes=1),
        ended_at=now,
        runs=4,
        errors=1,
        last_error="No.",
    )
    found = request_staff("tokens/updater/status")[1]
    assert found["status"] == "success"
    data = found["data"]
    assert (data["is_running"], data["is_updating"], data["accounts_file_exists"]) == (
        True,
        True,
        True,
    )
    assert (data["update_count"], data["error_count"], data["last_error"]) == (4, 1, "No.")
    assert (data["last_update"], data["cached_tokens_count"]) == (now.isoformat(), 4)
    assert data["next_update"] == (ends - timedelta(minutes=10)).isoformat()
    status, found = request_staff("tokens/updater/force-update")
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "message"})
    assert started == [((pooled_provider.pk,), {"force": True})]
