"""Failures in a row renew a provider's whole pool: once per window, by one process, and never while
it fails itself.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from kombu.exceptions import OperationalError

from providers import registry, vault
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import Gate, send_refusal
from tokens.imports import account_import
from tokens.imports.line_parsing import Login
from tokens.models import Refresh, UpstreamAccount, UpstreamToken
from tokens.pool.failure_counts import FailureCounts, StickyTokens
from tokens.renewal import renew_pool
from tokens.renewal.unsaved_secrets import OpenedSecrets
from tokens.tasks import check_disabled, refresh_pool, renew_soon
from tokens.tests.site import Renewing, Site

SOON = timedelta(minutes=5)


def refresh_row(provider, secret, access="", **fields):
    row = UpstreamToken.from_secret(provider, secret, kind="refresh", **fields)
    row.sealed, row.sealed_refresh = (
        (vault.encrypt_secret(access, str(row.pk)) if access else ""),
        row.sealed,
    )
    row.save()
    return row


@pytest.fixture
async def site(upstream, monkeypatch):
    found = Site()
    found.refresh = {"refresh-a", "refresh-b"}
    upstream.set_default_script(found)
    monkeypatch.setattr(registry, "get_adapter_class", lambda kind: Renewing)
    return found


@pytest.fixture
async def pair(site, provider):
    """Two tokens that can be renewed, one that cannot, and an account that has not signed in."""

    def make():
        account_import.import_account(provider, Login("june@example.org", "a password"))
        rows.create_tokens(provider, "sk-key")
        return [
            refresh_row(provider, name, "old", expires_at=datetime.now(UTC) + SOON)
            for name in ("refresh-a", "refresh-b")
        ]

    return await run_in_thread(make)


@pytest.fixture
async def gateway(site, gateway):
    return gateway


@pytest.fixture
def ordered(monkeypatch):
    """The providers whose renewal was ordered of the worker."""
    found = []
    monkeypatch.setattr(refresh_pool, "apply_async", lambda args, **options: found.append(args[0]))
    return found


def secrets(row):
    return OpenedSecrets.open_row(UpstreamToken.objects.get(pk=row.pk))


# --- the rule -------------------------------------------------------------------------------------
def test_two_rejections_in_a_row_or_two_failures_of_a_pool_larger_than_two_call_for_it():
    troubles = FailureCounts()
    assert [troubles.count_failure(1, is_rejection=True, pool_size=1) for _ in range(3)] == [
        False,
        True,
        True,
    ]
    assert [troubles.count_failure(2, is_rejection=False, pool_size=3) for _ in range(3)] == [
        False,
        True,
        True,
    ]
    assert [troubles.count_failure(3, is_rejection=False, pool_size=2) for _ in range(3)] == [
        False
    ] * 3
    troubles.clear_failures(1)
    assert not troubles.count_failure(1, is_rejection=True, pool_size=1)
    assert (
        troubles.find_failures(2).rejected_tokens,
        troubles.find_failures(2).other_failures,
        troubles.find_failures(9).last_at,
    ) == (0, 3, None)


@pytest.mark.settings(REFRESH_WINDOW_SECONDS=0.05)
async def test_one_process_asks_once_per_window():
    troubles = FailureCounts()
    for _ in range(3):
        troubles.request_renewal(1)
    troubles.request_renewal(2)
    assert [troubles.renewal_requests.get_nowait() for _ in range(2)] == [1, 2]
    assert troubles.renewal_requests.empty()
    await asyncio.sleep(0.06)
    troubles.request_renewal(1)
    assert troubles.renewal_requests.get_nowait() == 1


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


# --- the order ------------------------------------------------------------------------------------
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


# --- the work -------------------------------------------------------------------------------------
async def test_the_whole_pool_is_renewed_once_per_window(pair, site, provider):
    assert await run_in_thread(refresh_pool, provider.pk) == 3
    assert sorted(site.renewals) == ["june@example.org", "refresh-a", "refresh-b"]
    assert await run_in_thread(refresh_pool, provider.pk) == 0
    assert len(site.renewals) == 3
    assert await run_in_thread(refresh_pool, provider.pk, force=True) == 3
    run = await run_in_thread(Refresh.objects.get)
    assert (run.runs, run.renewed, run.errors, run.last_error, run.running_until) == (
        2,
        3,
        0,
        "",
        None,
    )
    assert run.began_at <= run.ended_at


async def test_a_run_at_the_same_time_is_left_to_the_first(pair, site, provider):
    site.gate = Gate()
    first = asyncio.create_task(run_in_thread(refresh_pool, provider.pk))
    await site.gate.wait_until_reached()
    assert await run_in_thread(refresh_pool, provider.pk, force=True) == 0
    site.gate.open()
    assert await first == 3
    assert len(site.renewals) == 3


async def test_a_killed_run_does_not_keep_the_next_one_away_for_ever(pair, provider):
    assert await run_in_thread(renew_pool.claim_run, provider.pk)
    assert await run_in_thread(renew_pool.claim_run, provider.pk, force=True) is None
    await run_in_thread(
        Refresh.objects.update,
        running_until=datetime.now(UTC) - SOON,
        began_at=datetime.now(UTC) - SOON * 2,
    )
    assert await run_in_thread(refresh_pool, provider.pk) == 3


async def test_a_token_whose_renewal_is_refused_keeps_what_it_has(pair, site, provider):
    site.refresh.discard("refresh-a")
    site.accounts["june@example.org"] = "another"
    assert await run_in_thread(refresh_pool, provider.pk) == 1
    kept, renewed = [await run_in_thread(secrets, row) for row in pair]
    assert kept == ("old", "refresh-a")
    assert renewed.access.startswith("access-")
    row = await rows.reload_row(pair[0])
    assert (row.state, row.reason) == ("active", "auth: Its renewal was refused: It is void.")
    assert (await run_in_thread(UpstreamAccount.objects.get)).failures == 1
    run = await run_in_thread(Refresh.objects.get)
    assert (run.errors, run.renewed) == (2, 1)
    assert "refused" in run.last_error


async def test_what_auth_failures_disabled_comes_back_and_what_a_person_disabled_does_not(
    pair, site, provider
):
    await run_in_thread(UpstreamToken.objects.filter(pk=pair[0].pk).mark_disabled, "auth: rejected")
    await run_in_thread(UpstreamToken.objects.filter(pk=pair[1].pk).mark_disabled, "by operator")
    assert await run_in_thread(refresh_pool, provider.pk) == 2
    assert [(await rows.reload_row(row)).state for row in pair] == ["active", "disabled"]
    assert "refresh-b" not in site.renewals


async def test_a_password_that_was_refused_again_and_again_is_tried_only_when_a_person_says_so(
    pair, site, provider
):
    await run_in_thread(UpstreamAccount.objects.update, failures=3)
    assert await run_in_thread(refresh_pool, provider.pk) == 2
    assert await run_in_thread(refresh_pool, provider.pk, force=True) == 3


async def test_checks_do_not_try_a_refused_password_again(pair, site, provider):
    await run_in_thread(UpstreamAccount.objects.update, failures=2)
    await run_in_thread(
        UpstreamToken.objects.filter(account__isnull=False).mark_disabled, "auth: refused"
    )
    site.refresh.clear()
    site.accounts.clear()
    for _ in range(4):
        await run_in_thread(check_disabled)
    assert await run_in_thread(UpstreamAccount.objects.filter(failures=3).count) == 1
    assert len([one for one in site.renewals if "@" in one]) <= 1


async def test_a_provider_that_fails_is_left_alone_after_a_few_tries(site, provider, upstream):
    await run_in_thread(
        lambda: [refresh_row(provider, f"refresh-{number}") for number in range(30)]
    )
    upstream.set_default_script(send_refusal(500))
    assert await run_in_thread(refresh_pool, provider.pk) == 0
    assert len(upstream.requests) < renew_pool.MAX_PROVIDER_FAILURES + renew_pool.RENEWALS_AT_ONCE
    assert (
        await run_in_thread(UpstreamToken.objects.filter(renewing_until=None, state="active").count)
        == 30
    )


# --- before they end ------------------------------------------------------------------------------
async def test_what_ends_soon_is_renewed_and_nothing_else(pair, site):
    await run_in_thread(
        UpstreamToken.objects.filter(pk=pair[1].pk).update,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    assert await run_in_thread(renew_soon) == 1
    assert site.renewals == ["refresh-a"]
    assert await run_in_thread(renew_soon) == 0


async def test_what_was_refused_is_left_to_its_next_use(pair, site):
    site.refresh.clear()
    assert await run_in_thread(renew_soon) == 0
    assert len(site.renewals) == 2
    assert await run_in_thread(renew_soon) == 0
    assert len(site.renewals) == 2


async def test_an_account_without_a_token_gets_one(site, provider):
    def make():
        account = UpstreamAccount(provider=provider, email="june@example.org")
        account.seal_password("a password")
        account.save()

    await run_in_thread(make)
    await run_in_thread(renew_soon)
    assert (await run_in_thread(UpstreamToken.objects.get)).masked == "ju…@example.org"
    assert await run_in_thread(refresh_pool, provider.pk) == 1


# --- conversations --------------------------------------------------------------------------------
@pytest.mark.settings(STICKY_CONVERSATIONS=2)
def test_the_token_of_a_conversation_is_remembered_within_bounds():
    sticky, (one, two, three) = StickyTokens(), [rows.UpstreamToken().pk for _ in range(3)]
    for conversation, token in (("a", one), ("b", two), ("a", one), ("c", three)):
        sticky.store_token_id(conversation, 1, token)
    assert [sticky.find_token_id(conversation, 1) for conversation in "abc"] == [one, None, three]
    assert sticky.find_token_id("a", 2) is None
