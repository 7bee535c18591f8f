"""Providers that are left alone, and the one probe that brings them back."""

import asyncio

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.gateway import build_raw_request
from proxysite.testing.upstream import Gate, answer_honestly, keep_silent, send_refusal


@pytest.mark.settings(BREAKER_FAILURES=3, BREAKER_SECONDS=30)
async def test_a_failing_provider_is_left_alone_and_its_tokens_stay_as_they_are(
    gateway, upstream, alice, token
):
    upstream.set_default_script(send_refusal(500))
    for _ in range(3):
        assert (await gateway.request_chat(alice.key)).status == 502
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["type"]) == (503, "upstream_error")
    assert answer.error["code"] == "provider_unavailable"
    assert 29 <= int(answer.headers["retry-after"]) <= 31
    assert len(upstream.requests) == 3
    after = await gateway.read_token_row(token)
    assert (after.state, after.strikes, after.has_cooldown) == ("active", 0, False)
    assert (await rows.read_usage_records())[-1].attempts[0]["outcome"] == "skipped"


@pytest.mark.settings(BREAKER_FAILURES=2, BREAKER_SECONDS=30)
async def test_another_provider_answers_while_the_breaker_is_open(gateway, upstream, alice, second):
    other, _ = second
    upstream.set_default_script(send_refusal(500))
    for _ in range(4):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert (len(upstream.requests), len(other.requests)) == (2, 4)


@pytest.mark.settings(BREAKER_FAILURES=1, BREAKER_SECONDS=0.1)
async def test_one_probe_closes_the_breaker_again(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 502
    probe = Gate()

    async def slow(exchange):
        await probe.wait_until_open()
        await answer_honestly()(exchange)

    upstream.queue_scripts(slow)
    await wait_until_true(lambda: gateway.blocked_seconds() is None, 2)
    probing = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request(2)
    others = [await gateway.request_chat(alice.key) for _ in range(3)]
    assert [other.status for other in others] == [503] * 3
    assert len(upstream.requests) == 2
    probe.open()
    assert (await probing).status == 200
    assert (await gateway.request_chat(alice.key)).status == 200
    assert gateway.count_failures() == 0


@pytest.mark.settings(BREAKER_FAILURES=1, BREAKER_SECONDS=0.1)
async def test_a_failed_probe_opens_the_breaker_for_longer(gateway, upstream, alice):
    upstream.set_default_script(send_refusal(500))
    await gateway.request_chat(alice.key)
    first = gateway.blocked_seconds()
    await wait_until_true(lambda: gateway.blocked_seconds() is None, 2)
    await gateway.request_chat(alice.key)
    assert first < gateway.blocked_seconds() <= 0.2
    assert len(upstream.requests) == 2


@pytest.mark.settings(BREAKER_FAILURES=1, BREAKER_SECONDS=0.1)
async def test_a_caller_that_leaves_during_the_probe_leaves_the_door_open_for_another(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_refusal(500), keep_silent)
    await gateway.request_chat(alice.key)
    await wait_until_true(lambda: gateway.blocked_seconds() is None, 2)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key))
        await upstream.wait_for_request(2)
        wire.close_connection()
        await upstream.last_exchange.wait_until_left()
    assert (await gateway.request_chat(alice.key)).status == 200


@pytest.mark.settings(BREAKER_FAILURES=2, BREAKER_SECONDS=30)
@pytest.mark.parametrize(
    "answer",
    [send_refusal(400), send_refusal(401), send_refusal(429), send_refusal(404)],
    ids=["400", "401", "429", "404"],
)
async def test_only_the_providers_own_faults_count(gateway, upstream, alice, provider, answer):
    await run_in_thread(rows.create_tokens, provider, *(f"sk-more-{n}" for n in range(9)))
    await gateway.reload_rows()
    upstream.set_default_script(answer)
    for _ in range(3):
        await gateway.request_chat(alice.key)
    assert gateway.count_failures() == 0
    assert gateway.blocked_seconds() is None
