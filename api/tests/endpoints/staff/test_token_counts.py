"""What the staff endpoints tell of tokens: counts, failures in a row, masked secrets."""

from datetime import timedelta

import pytest
from django.utils import timezone

from api.tests.endpoints.staff.staff_endpoints import SECRETS, read_refusal
from providers import vault
from providers.models import Provider
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal
from tokens.models import UpstreamToken

COUNTED_STATES = {
    "total",
    "active",
    "inactive",
    "resting",
    "exhausted",
    "failing",
    "disabled",
    "expired",
}


# --- counts ---------------------------------------------------------------------------------------
@pytest.mark.settings(MAX_TOKEN_FAILURES=3)
def test_the_counts_have_the_proxys_keys_and_each_provider_its_own(request_staff, pooled_provider):
    now = timezone.now()
    later, before = now + timedelta(hours=1), now - timedelta(hours=1)
    other = rows.create_provider("http://127.0.0.1:9/v1", "other", models=())
    rows.create_tokens(other, "sk-resting-1", strikes=2, rests_until=later)
    rows.create_tokens(other, "sk-exhausted-1", state="exhausted", rests_until=later)
    rows.create_tokens(other, "sk-disabled-1", state="disabled", strikes=3)
    rows.create_tokens(other, "sk-expired-1", expires_at=before)
    rows.create_tokens(other, "sk-renewed-1", expires_at=before, sealed_refresh="sealed")
    rows.create_tokens(other, "sk-rested-1", state="exhausted", rests_until=before)
    first, second = UpstreamToken.objects.filter(provider=pooled_provider)[:2]
    UpstreamToken.objects.filter(pk=first.pk).update(last_used_at=before)
    UpstreamToken.objects.filter(pk=second.pk).update(last_used_at=now)
    status, found = request_staff("tokens/stats")
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "data"})
    providers = found["data"].pop("providers")
    assert found["data"] == {
        "total_tokens": 9,
        "active_tokens": 5,
        "inactive_tokens": 4,
        "current_index": 2,
        "failure_distribution": {"0": 7, "2": 1, "3": 1},
        "max_failures": 3,
    }
    k2, others = providers
    assert k2.keys() == others.keys() == {"name", "mode", "breaker", *COUNTED_STATES}
    assert (k2["name"], k2["mode"], k2["total"], k2["active"], k2["inactive"]) == (
        "k2",
        "user",
        3,
        3,
        0,
    )
    assert others == {
        "name": "other",
        "mode": "user",
        "breaker": "closed",
        "failing": 0,
        "total": 6,
        "active": 2,
        "inactive": 4,
        "resting": 1,
        "exhausted": 1,
        "disabled": 1,
        "expired": 1,
    }


def test_the_counts_can_be_of_one_provider_and_of_none_at_all(request_staff, pooled_provider):
    rows.create_tokens(
        rows.create_provider("http://127.0.0.1:9/v1", "other", models=()), "sk-other-1"
    )
    data = request_staff("tokens/stats", provider="other")[1]["data"]
    assert (data["total_tokens"], [row["name"] for row in data["providers"]]) == (1, ["other"])
    assert "no provider 'nobody'" in read_refusal(request_staff("tokens/stats", provider="nobody"))
    Provider.objects.all().delete()
    data = request_staff("tokens/stats")[1]["data"]
    assert (data["total_tokens"], data["current_index"], data["failure_distribution"]) == (0, 0, {})
    assert data["providers"] == []


def test_tokens_are_shown_masked_in_list_order(request_staff, pooled_provider):
    status, found = request_staff("tokens/content")
    assert (status, found) == (
        200,
        {"status": "success", "tokens": [vault.mask_secret(secret) for secret in SECRETS]},
    )


# --- renewal --------------------------------------------------------------------------------------
async def test_failures_in_a_row_are_told_and_forgotten(gateway, operator, alice, upstream, token):
    upstream.queue_scripts(send_refusal(401, "No."))
    await gateway.request_chat(alice.key)
    answer = await gateway.send_request("GET", "/admin/tokens/consecutive-failures", operator.key)
    data = answer.json["data"]
    assert data.pop("last_upstream_error_time") < data.pop("last_check")
    assert data == {
        "consecutive_failures": 0,
        "threshold": 2,
        "consecutive_upstream_errors": 1,
        "upstream_error_threshold": 2,
        "token_pool_size": 1,
        "auto_refresh_enabled": False,
    }
    answer = await gateway.send_request("POST", "/admin/tokens/reset-consecutive", operator.key)
    assert answer.json.keys() == {"status", "message", "data"}
    assert answer.json["data"] == {"previous_count": 1, "current_count": 0}
    answer = await gateway.send_request("GET", "/admin/tokens/consecutive-failures", operator.key)
    assert answer.json["data"]["consecutive_upstream_errors"] == 0
    assert answer.json["data"]["last_upstream_error_time"] is None


def test_a_process_without_a_gateway_says_so(request_staff, pooled_provider):
    assert request_staff("tokens/consecutive-failures")[0] == 503
