"""How many requests of one key run at the same time."""

import asyncio

import pytest

from api.tests.endpoints.limits.request_bodies import CONVERSATIONS, encode_post_head
from proxysite.testing import wait_until_true
from proxysite.testing.gateway import build_raw_request_head
from proxysite.testing.upstream import keep_silent


@pytest.mark.settings(REQUESTS_IN_FLIGHT_PER_KEY=2)
async def test_the_running_requests_of_one_key_are_bounded(gateway, upstream, alice, mallory):
    upstream.queue_scripts(keep_silent, keep_silent)
    running = [asyncio.create_task(gateway.request_chat(alice.key)) for _ in range(2)]
    await upstream.wait_for_request(2)
    for answer in (
        await gateway.request_chat(alice.key),
        await gateway.send_request("GET", "/v1/models", alice.key),
    ):
        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
        assert answer.error["type"] == "requests"
        assert answer.headers["retry-after"] == "1"
    assert (await gateway.request_chat(mallory.key)).status == 200
    for one in running:
        one.cancel()
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 0)
    assert (await gateway.request_chat(alice.key)).status == 200


@pytest.mark.settings(REQUESTS_IN_FLIGHT=1)
async def test_requests_are_counted_on_every_endpoint_and_probes_are_answered_all_the_same(
    gateway, upstream, alice
):
    upstream.queue_scripts(keep_silent)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, 100, path=CONVERSATIONS))
        running = asyncio.create_task(gateway.request_chat(alice.key))
        await upstream.wait_for_request()
        await wait_until_true(lambda: gateway.held_resources()[2] == 1)
        for path in ("/v1/models", "/health", "/admin/login/", "/"):
            answer = await gateway.send_request("GET", path)
            assert (answer.status, answer.error["code"]) == (503, "too_many_requests_in_flight"), (
                path
            )
            assert answer.headers["retry-after"] == "1"
        assert (await gateway.send_request("GET", "/healthz")).status == 200
        assert (await gateway.send_request("GET", "/readyz")).status == 200
    running.cancel()


@pytest.mark.settings(REQUESTS_IN_FLIGHT=2)
async def test_slow_strangers_take_no_places_from_others(gateway, alice):
    async with (
        gateway.open_bare_connection() as one,
        gateway.open_bare_connection() as two,
        gateway.open_bare_connection() as three,
    ):
        for wire in (one, two):
            await wire.send(encode_post_head("/v1/models", length=100))
        await wire.send(b"x")
        await wait_until_true(lambda: gateway.waiting_count == 2)
        await three.send(encode_post_head("/v1/models", length=100))
        assert (await three.receive_answer()).status == 503
        assert (await gateway.send_request("GET", "/v1/models", alice.key)).status == 200
        assert (await gateway.send_request("POST", CONVERSATIONS, alice.key, json={})).status == 200
