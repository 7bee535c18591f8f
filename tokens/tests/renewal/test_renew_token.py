"""Tokens that end are renewed before they are used: once, whoever needs them, and nothing that
comes is lost.
"""

import asyncio

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import CUT, Gate, send_pieces, send_refusal
from tokens.models import Transition, UpstreamAccount, UpstreamToken
from tokens.renewal import unsaved_secrets
from tokens.tests.renewal.renewal_cast import (
    PAST,
    add_account,
    asked,
    change,
    refresh_row,
    secrets,
)


async def test_many_requests_with_a_token_that_has_no_access_renew_it_once(
    gateway, row, site, upstream, alice
):
    site.gate = Gate()
    asking = [asyncio.create_task(gateway.request_chat(alice.key)) for _ in range(16)]
    await site.gate.wait_until_reached()
    site.gate.open()
    assert {(await one).status for one in asking} == {200}
    assert site.renewals == ["refresh-0"]
    assert asked(upstream) == ["access-1"] * 16
    assert await run_in_thread(secrets, row) == ("access-1", "refresh-1")
    found = await rows.reload_row(row)
    assert (found.state, found.strikes, found.renewing_until, found.fingerprint) == (
        "active",
        0,
        None,
        row.fingerprint,
    )
    assert not list(unsaved_secrets.find_renewals_folder().iterdir())


async def test_each_renewal_uses_the_refresh_token_that_the_last_one_brought(
    gateway, row, site, upstream, alice
):
    for _ in range(3):
        assert (await gateway.request_chat(alice.key)).status == 200
        await change(gateway, row, expires_at=PAST)
    assert site.renewals == ["refresh-0", "refresh-1", "refresh-2"]
    assert asked(upstream) == ["access-1", "access-2", "access-3"]


async def test_a_token_that_has_not_expired_is_not_renewed(gateway, row, site, alice):
    for _ in range(3):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert len(site.renewals) == 1


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_rejected_token_is_renewed_and_asked_once_more(
    gateway, row, site, upstream, alice, streams
):
    await gateway.request_chat(alice.key)
    site.access.clear()
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert asked(upstream) == ["access-1", "access-1", "access-2"]
    used = (await rows.read_usage_records())[-1]
    assert [(one["outcome"], one["token"]) for one in used.attempts] == [
        ("AuthRejected", str(row.pk)),
        ("answered", str(row.pk)),
    ]
    assert (await gateway.read_token_row(row)).strikes == 0


async def test_many_requests_with_a_rejected_token_renew_it_once(gateway, row, site, alice):
    await gateway.request_chat(alice.key)
    site.access.clear()
    site.gate = Gate()
    asking = [asyncio.create_task(gateway.request_chat(alice.key)) for _ in range(16)]
    await site.gate.wait_until_reached()
    site.gate.open()
    assert {(await one).status for one in asking} == {200}
    assert site.renewals == ["refresh-0", "refresh-1"]
    assert gateway.inner.pool.count_consecutive_failures(row.provider_id) == (0, 0, None)


async def test_a_token_that_is_rejected_although_it_was_renewed_is_struck(
    gateway, row, site, upstream, alice
):
    await gateway.request_chat(alice.key)
    upstream.queue_scripts(send_refusal(401), site, send_refusal(401))
    assert (await gateway.request_chat(alice.key)).status == 503
    assert len(site.renewals) == 2
    found = await gateway.read_token_row(row)
    assert (found.strikes, found.state) == (1, "active")


@pytest.mark.settings(MAX_TOKENS_TRIED=1)
async def test_a_rejected_token_is_renewed_even_when_no_attempt_is_left(gateway, row, site, alice):
    await gateway.request_chat(alice.key)
    site.access.clear()
    assert (await gateway.request_chat(alice.key)).status == 503
    await wait_until_true(lambda: "access-2" in site.access)
    await gateway.inner.pool.renewals.wait_for_renewals()
    assert (await gateway.request_chat(alice.key)).status == 200


async def test_a_refused_renewal_disables_the_token_and_the_next_one_answers(
    gateway, row, site, alice, provider
):
    site.refresh = {"refresh-b"}
    other = await run_in_thread(refresh_row, provider, "refresh-b")
    await gateway.reload_rows()
    for _ in range(2):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert site.renewals == ["refresh-0", "refresh-b"]
    found = await gateway.read_token_row(row)
    assert (found.state, found.reason) == ("disabled", "auth: Its renewal was refused: It is void.")
    assert (await gateway.read_token_row(other)).state == "active"
    (change,) = await run_in_thread(lambda: list(Transition.objects.filter(token=row)))
    assert (change.before, change.after, change.reason) == ("active", "disabled", found.reason)


@pytest.mark.settings(MAX_ATTEMPTS=1)
@pytest.mark.parametrize(
    "fault", [send_refusal(500), send_refusal(429), send_pieces(CUT)], ids=["500", "429", "reset"]
)
async def test_a_renewal_that_fails_for_other_reasons_leaves_the_token_as_it_is(
    gateway, row, upstream, alice, fault
):
    before = await run_in_thread(secrets, row)
    upstream.queue_scripts(fault)
    assert (await gateway.request_chat(alice.key)).status in (429, 502)
    found = await rows.reload_row(row)
    assert (found.state, found.renewing_until, await run_in_thread(secrets, row)) == (
        "active",
        None,
        before,
    )


async def test_an_account_signs_in_for_its_first_request_and_when_its_session_ends(
    gateway, site, provider, alice
):
    def make():
        UpstreamToken.objects.all().delete()
        add_account(provider)

    await run_in_thread(make)
    await gateway.reload_rows()
    for _ in range(2):
        assert (await gateway.request_chat(alice.key)).status == 200
        await run_in_thread(UpstreamToken.objects.update, expires_at=PAST)
        await gateway.reload_rows()
    assert site.renewals == ["june@example.org"] * 2
    account = await run_in_thread(UpstreamAccount.objects.get)
    assert account.signed_in_at is not None
    site.accounts.clear()
    assert (await gateway.request_chat(alice.key)).status == 503
    account, row = (
        await run_in_thread(UpstreamAccount.objects.get),
        await run_in_thread(UpstreamToken.objects.get),
    )
    assert (account.failures, row.state) == (1, "disabled")
    assert account.reason == row.reason == "auth: Its account was refused: It is void."


async def test_a_renewal_goes_on_when_its_caller_leaves(gateway, row, site, alice):
    site.gate = Gate()
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await site.gate.wait_until_reached()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    site.gate.open()
    await wait_until_true(lambda: run_in_thread(lambda: secrets(row) == ("access-1", "refresh-1")))
