"""Failures in a row order a renewal of the provider's pool."""

from datetime import UTC, datetime

import pytest
from kombu.exceptions import OperationalError

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import send_refusal
from tokens.models import UpstreamToken
from tokens.renewal import renew_pool
from tokens.tasks import refresh_pool
from tokens.tests.renewal.renewal_cast import SOON, refresh_row


@pytest.fixture
def ordered(monkeypatch):
    """The providers whose renewal was ordered of the worker."""
    found = []
    monkeypatch.setattr(refresh_pool, "apply_async", lambda args, **options: found.append(args[0]))
    return found


@pytest.mark.settings(MAX_TOKENS_TRIED=1)
async def test_two_rejected_tokens_order_a_renewal_and_a_success_forgets(
    gateway, pair, three, site, ordered, alice
):
    pool, provider_id = gateway.inner.pool, three[0].provider_id
    await run_in_thread(
        UpstreamToken.objects.exclude(pk__in=[row.pk for row in three]).update,
        rests_until=datetime.now(UTC) + SOON,
    )
    await gateway.reload_rows()
    await gateway.request_chat(alice.key)
    assert pool.count_consecutive_failures(provider_id)[:2] == (1, 0)
    assert not ordered
    await gateway.request_chat(alice.key)
    assert pool.count_consecutive_failures(provider_id)[:2] == (2, 0)
    await wait_until_true(lambda: ordered == [provider_id])
    site.access = {"sk-up-1", "sk-up-2", "sk-up-3"}
    await gateway.request_chat(alice.key)
    assert pool.count_consecutive_failures(provider_id) == (0, 0, None)
    site.access.clear()
    await gateway.request_chat(alice.key)
    pool.reset_consecutive_failures(provider_id)
    assert pool.count_consecutive_failures(provider_id) == (0, 0, None)


@pytest.mark.settings(MAX_ATTEMPTS=1)
@pytest.mark.parametrize(
    ("limit", "alarms"), [(2, False), (9, True)], ids=["breaker open", "breaker closed"]
)
async def test_failures_of_the_provider_order_a_renewal_unless_its_breaker_is_open(
    site, three, upstream, gateway, alice, settings, monkeypatch, limit, alarms
):
    settings.BREAKER_FAILURES = limit
    alarmed = []
    monkeypatch.setattr(gateway.inner.pool.failure_counts, "request_renewal", alarmed.append)
    upstream.set_default_script(send_refusal(500))
    for _ in range(3):
        await gateway.request_chat(alice.key)
    assert bool(gateway.blocked_seconds()) is not alarms
    assert bool(alarmed) is alarms


@pytest.mark.settings(MAX_ATTEMPTS=1)
@pytest.mark.parametrize("fault", [400, 404, 409, 429])
async def test_limits_and_faults_of_callers_are_no_failures(gateway, token, upstream, alice, fault):
    upstream.set_default_script(send_refusal(fault))
    for _ in range(3):
        await gateway.request_chat(alice.key)
    assert gateway.inner.pool.count_consecutive_failures(token.provider_id) == (0, 0, None)


def test_nothing_is_ordered_of_a_pool_that_cannot_be_renewed(transactional_db, ordered):
    row = rows.create_provider("http://127.0.0.1:9/v1")
    rows.create_tokens(row, "sk-key")
    renew_pool.queue_pool_renewal(row.pk)
    assert not ordered


def test_a_broker_that_is_down_is_logged_and_breaks_nothing(transactional_db, monkeypatch, caplog):
    def down(*args, **options):
        raise OperationalError("no broker")

    row = rows.create_provider("http://127.0.0.1:9/v1")
    refresh_row(row, "refresh-a")
    monkeypatch.setattr(refresh_pool, "apply_async", down)
    renew_pool.queue_pool_renewal(row.pk)
    assert "cannot be ordered: OperationalError" in caplog.text
