"""The bodies of one key, and of all callers, hold no more than this process can."""

import asyncio
import json

import pytest

from api.tests.endpoints.limits.request_bodies import CHAT, CONVERSATIONS, make_chat_body
from proxysite.testing import speech, wait_until_true
from proxysite.testing.gateway import build_raw_request_head
from proxysite.testing.upstream import DONE, Gate, answer_honestly, keep_silent, send_stream

JSON = {"content-type": "application/json"}


async def post_chat_body(gateway, key, size):
    return await gateway.send_request("POST", CHAT, key, content=make_chat_body(size), headers=JSON)


@pytest.mark.settings(BODIES_BYTES_PER_KEY=250_000)
async def test_the_bodies_of_one_key_are_bounded_together(gateway, upstream, alice, mallory):
    upstream.queue_scripts(keep_silent)
    upstream.set_default_script(answer_honestly())
    running = asyncio.create_task(post_chat_body(gateway, alice.key, 200_000))
    await upstream.wait_for_request()
    answer = await post_chat_body(gateway, alice.key, 100_000)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.error["type"] == "requests"
    assert answer.headers["retry-after"] == "1"
    assert (
        await post_chat_body(gateway, alice.key, 60_000)
    ).status == 200  # small ones are not counted
    assert (await post_chat_body(gateway, mallory.key, 200_000)).status == 200
    running.cancel()
    await wait_until_true(lambda: gateway.body_budget.memory_bytes == 0)
    assert (await post_chat_body(gateway, alice.key, 200_000)).status == 200


async def test_a_body_that_is_answered_in_the_background_counts_until_its_answer_has_ended(
    gateway, upstream, alice
):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, *speech.streamed_completion("two"), DONE)
    )
    body = {"model": "m", "input": "x" * 200_000, "background": True}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert (answer.status, answer.json["status"]) == (200, "queued")
    await gate.wait_until_reached()
    assert gateway.inner.requests_in_flight == 0
    assert gateway.body_budget.memory_bytes > 200_000
    gate.open()
    await wait_until_true(lambda: gateway.body_budget.memory_bytes == 0)


@pytest.mark.settings(BODIES_BYTES=250_000)
async def test_the_bodies_of_all_callers_are_bounded_together(gateway, upstream, alice, mallory):
    upstream.queue_scripts(keep_silent)
    upstream.set_default_script(answer_honestly())
    running = asyncio.create_task(post_chat_body(gateway, alice.key, 200_000))
    await upstream.wait_for_request()
    for path in (CHAT, CONVERSATIONS):
        answer = await gateway.send_request(
            "POST", path, mallory.key, content=make_chat_body(100_000), headers=JSON
        )
        assert (answer.status, answer.error["code"]) == (503, "too_many_requests_in_flight")
        assert answer.headers["retry-after"] == "1"
    assert (await post_chat_body(gateway, mallory.key, 60_000)).status == 200
    running.cancel()
    await wait_until_true(lambda: gateway.body_budget.memory_bytes == 0)
    assert (await post_chat_body(gateway, mallory.key, 200_000)).status == 200


@pytest.mark.settings(BODIES_BYTES=250_000)
@pytest.mark.parametrize("path", [CHAT, CONVERSATIONS])
async def test_a_body_without_room_is_refused_before_it_is_read(
    gateway, upstream, alice, mallory, path
):
    upstream.queue_scripts(keep_silent)
    running = asyncio.create_task(post_chat_body(gateway, alice.key, 200_000))
    await upstream.wait_for_request()
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(mallory.key, 100_000, path=path))
        assert (await wire.receive_answer()).status == 503
    running.cancel()


@pytest.mark.settings(BODY_MEMORY_BYTES=80_000, BODIES_DISK_BYTES=250_000)
@pytest.mark.parametrize("path", [CHAT, CONVERSATIONS])
async def test_a_large_body_waits_on_disk_until_it_is_whole(gateway, upstream, alice, path):
    body = make_chat_body(200_000)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, len(body), path=path) + body[:70_000])
        await wait_until_true(lambda: gateway.body_budget.memory_bytes >= 65_536)
        await wire.send(body[70_000:150_000])
        await wait_until_true(lambda: gateway.body_budget.disk_bytes == 150_000)
        assert gateway.body_budget.memory_bytes == 0
        refused = await gateway.send_request(
            "POST", path, alice.key, content=make_chat_body(120_000), headers=JSON
        )
        assert (refused.status, refused.error["code"]) == (503, "too_many_requests_in_flight")
        await wire.send(body[150_000:])
        assert (await wire.receive_answer()).status == 200
    if path == CHAT:
        assert upstream.requests[0].json["messages"] == json.loads(body)["messages"]


@pytest.mark.settings(BODY_MEMORY_BYTES=80_000)
async def test_a_caller_who_leaves_in_the_middle_leaves_nothing_behind(gateway, alice):
    for path in (CHAT, CONVERSATIONS):
        async with gateway.open_bare_connection() as wire:
            await wire.send(build_raw_request_head(alice.key, 200_000, path=path) + b"x" * 150_000)
            await wait_until_true(lambda: gateway.body_budget.disk_bytes == 150_000)
        await wait_until_true(lambda: gateway.held_resources() == (0, 0, 0, 0))


@pytest.mark.settings(BODIES_BYTES=100_000)
async def test_a_body_that_could_never_be_held_is_too_large(gateway, alice):
    answer = await post_chat_body(gateway, alice.key, 100_001)
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
