"""One stream per token where the upstream allows no more: claimed across processes, given back
however it ends.
"""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection, connections, transaction

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import CUT, Gate, send_pieces, send_refusal
from tokens.models import UpstreamToken
from tokens.pool import stream_claims
from tokens.pool.stream_claims import StreamClaims
from tokens.tests.site import Single, Site, open_site


@pytest.fixture
async def site(upstream, monkeypatch):
    """Accepts sk-up-1 to sk-up-3."""
    found = open_site(upstream, monkeypatch, Single)
    found.access = {"sk-up-1", "sk-up-2", "sk-up-3"}
    return found


@pytest.fixture
async def gateway(site, gateway):
    """Made when the site's adapter is there."""
    return gateway


def later(**time):
    return datetime.now(UTC) + timedelta(**time)


async def held(token, by="another process", **time):
    """Another process has the token's stream."""
    await run_in_thread(
        UpstreamToken.objects.filter(pk=token.pk).update, busy_until=later(**time), busy_with=by
    )


async def free(token):
    found = await rows.reload_row(token)
    return found.busy_until is None and not found.busy_with


async def test_two_requests_for_one_token_are_answered_one_after_the_other(
    gateway, token, site, alice
):
    site.talk = Gate()
    asking = [asyncio.create_task(gateway.request_chat(alice.key)) for _ in range(3)]
    await site.talk.wait_until_reached()
    assert (await rows.reload_row(token)).busy_until > later(seconds=10)
    site.talk.open()
    assert [(await one).status for one in asking] == [200] * 3
    assert site.most == 1
    await wait_until_true(lambda: free(token))
    for (
        row
    ) in await rows.read_usage_records():  # those who waited say why, and waiting is no attempt
        assert [one["outcome"] for one in row.attempts if one["outcome"] != "skipped"] == [
            "answered"
        ]
        assert all(
            "1 in use" in one["reason"] for one in row.attempts if one["outcome"] == "skipped"
        )


async def test_as_many_requests_run_as_there_are_tokens(gateway, three, site, alice):
    site.talk = Gate()
    asking = [asyncio.create_task(gateway.request_chat(alice.key)) for _ in range(6)]
    await wait_until_true(lambda: site.talking == 3)
    site.talk.open()
    assert [(await one).status for one in asking] == [200] * 6
    assert site.most == 3


async def test_a_token_that_another_process_uses_is_passed_over_unhurt(
    gateway, three, upstream, site, alice
):
    await held(three[0], minutes=1)
    claims = gateway.inner.pool.stream_claims
    for _ in range(4):
        assert (await gateway.request_chat(alice.key)).status == 200
        # a stream is given back behind its answer; until then the next request may have to wait
        await wait_until_true(lambda: claims.find_busy_tokens() <= {three[0].pk})
    assert "sk-up-1" not in {request.bearer_token for request in upstream.requests}
    assert (await gateway.read_token_row(three[0])).strikes == 0
    attempts = [row.attempts for row in await rows.read_usage_records()]
    assert [len(made) for made in attempts] == [1] * 4, attempts


@pytest.mark.settings(CLAIM_WAIT_SECONDS=0.2)
async def test_when_all_are_in_use_the_caller_is_told_to_come_back(gateway, token, upstream, alice):
    await held(token, minutes=1)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["retry-after"]) >= 1
    assert not upstream.requests
    found = await gateway.read_token_row(token)
    assert (found.strikes, found.rests_until, found.busy_with) == (0, None, "another process")


async def test_the_claim_of_a_killed_process_ends_with_its_lease(gateway, token, alice):
    await held(token, seconds=0.3)

    async def answered():
        return (await gateway.request_chat(alice.key)).status == 200

    await wait_until_true(answered)


@pytest.mark.settings(MAX_ATTEMPTS=1)
@pytest.mark.parametrize(
    "fault",
    [send_pieces(CUT), send_refusal(401), send_refusal(500), send_refusal(400)],
    ids=["cut", "401", "500", "400"],
)
async def test_an_error_gives_the_stream_back(gateway, token, upstream, alice, fault):
    upstream.queue_scripts(fault)
    assert (await gateway.request_chat(alice.key)).status >= 400
    await wait_until_true(lambda: free(token))


async def test_a_caller_who_leaves_gives_the_stream_back(gateway, token, site, alice):
    site.talk = Gate()
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await site.talk.wait_until_reached()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await wait_until_true(lambda: free(token))
    site.talk.open()
    assert (await gateway.request_chat(alice.key)).status == 200


async def test_another_provider_answers_before_anybody_waits(gateway, token, second, alice):
    await held(token, minutes=1)
    other, _ = second
    answering = Site()
    answering.access = {"sk-second-1"}
    other.set_default_script(answering)
    assert (await gateway.request_chat(alice.key)).status == 200
    assert len(other.requests) == 1


async def test_a_long_stream_keeps_its_lease(token):
    claims = StreamClaims()
    assert await claims.claim_stream(token.pk, "a" * 32, token.provider_id)
    await held(token, "a" * 32, seconds=1)
    await claims.renew_leases()
    assert (await rows.reload_row(token)).busy_until > later(seconds=30)


async def test_the_claim_of_a_request_that_is_over_is_released_instead_of_renewed(token):
    claims = StreamClaims()
    long_ago = time.perf_counter() - 2 * stream_claims.OVERTIME_SECONDS
    assert await claims.claim_stream(token.pk, "a" * 32, token.provider_id, long_ago)
    await claims.renew_leases()
    await claims.wait_for_releases()
    assert await free(token)
    assert not claims.find_busy_tokens()


async def test_a_late_release_leaves_the_claim_of_the_next_request(token):
    claims = StreamClaims()
    assert await claims.claim_stream(token.pk, "a" * 32, token.provider_id)
    claims.release_stream(token.pk)
    claims.release_stream(token.pk)
    await asyncio.wait(claims._release_tasks, return_when=asyncio.FIRST_COMPLETED)
    assert await claims.claim_stream(token.pk, "b" * 32, token.provider_id)
    await claims.wait_for_releases()
    assert token.pk in claims.find_busy_tokens()
    assert (await rows.reload_row(token)).busy_with == "b" * 32


async def test_of_many_processes_one_gets_the_stream(token):
    processes = [StreamClaims() for _ in range(8)]
    got = await asyncio.gather(
        *(
            one.claim_stream(token.pk, f"{n:032x}", token.provider_id)
            for n, one in enumerate(processes)
        )
    )
    assert sum(got) == 1
    winner = got.index(True)
    assert (await rows.reload_row(token)).busy_with == f"{winner:032x}"
    for one in processes:
        one.release_stream(token.pk)  # of those who have it not nothing is taken
        await one.wait_for_releases()
    assert await free(token)


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=0.1)
async def test_a_claim_that_is_late_is_a_503_and_given_back_when_it_comes(
    gateway, token, site, alice, monkeypatch
):
    made, let_go = stream_claims.claim_or_list_busy, threading.Event()

    def late(*args):
        let_go.wait(10)
        return made(*args)

    monkeypatch.setattr(stream_claims, "claim_or_list_busy", late)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
    let_go.set()
    monkeypatch.setattr(stream_claims, "claim_or_list_busy", made)
    await wait_until_true(lambda: not gateway.inner.pool.stream_claims.find_busy_tokens())
    await wait_until_true(lambda: free(token))


@pytest.mark.parametrize(
    "fault", [InterfaceError("connection already closed"), OperationalError("away")]
)
async def test_a_claim_that_failed_keeps_no_token(gateway, token, site, alice, monkeypatch, fault):
    def fails(*args):
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(stream_claims, "claim_or_list_busy", fails)
        assert (await gateway.request_chat(alice.key)).status == 503
    await wait_until_true(lambda: not gateway.inner.pool.stream_claims.find_busy_tokens())
    assert (await gateway.request_chat(alice.key)).status == 200


@pytest.fixture
def locked():
    """`await locked(row)`: another connection keeps the row locked until the test ends."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite locks no rows")
    has_it, over = threading.Event(), threading.Event()
    keepers = []

    def keep(row):
        try:
            with transaction.atomic():
                UpstreamToken.objects.select_for_update().get(pk=row.pk)
                has_it.set()
                over.wait(60)
        finally:
            connections.close_all()

    async def lock(row):
        keepers.append(threading.Thread(target=keep, args=(row,)))
        keepers[-1].start()
        assert await asyncio.to_thread(has_it.wait, 10)

    yield lock
    over.set()
    for keeper in keepers:
        keeper.join()


async def test_a_row_that_somebody_keeps_locked_is_busy_at_once_and_holds_no_thread(token, locked):
    await locked(token)

    async def refused():
        claims = StreamClaims()
        return (
            not await claims.claim_stream(token.pk, "a" * 32, token.provider_id)
            and token.pk in claims.find_busy_tokens()
        )

    # more than there are database threads, each within DATABASE_TIMEOUT_SECONDS: else this raises
    assert await asyncio.gather(*(refused() for _ in range(8))) == [True] * 8


async def test_another_token_answers_while_a_row_is_locked(
    gateway, three, upstream, site, alice, locked
):
    await locked(three[0])
    for _ in range(3):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert "sk-up-1" not in {request.bearer_token for request in upstream.requests}
