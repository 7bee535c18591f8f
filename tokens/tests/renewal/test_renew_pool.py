"""The whole pool of a provider is renewed: once per window, by one process, and never while the
provider fails itself.
"""

import asyncio
from datetime import UTC, datetime

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import Gate, send_refusal
from tokens.models import Refresh, UpstreamAccount, UpstreamToken
from tokens.renewal import renew_pool
from tokens.tasks import check_disabled, refresh_pool
from tokens.tests.renewal.renewal_cast import SOON, refresh_row, secrets


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
