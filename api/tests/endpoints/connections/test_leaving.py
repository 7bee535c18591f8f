"""A caller that leaves, in each phase: the upstream is let go within a second, the token keeps its
honour, and one row `abandoned` says what was produced by then.
"""

import asyncio
import socket
import struct

import pytest

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import build_raw_request, build_raw_request_head
from proxysite.testing.upstream import (
    DONE,
    Gate,
    encode_response_head,
    keep_silent,
    send_pieces,
    send_refusal,
    send_stream,
)

PROMISED_SECONDS = 1.0
WAYS = ["closes", "resets"]


def leave(wire, how):
    if how == "resets":
        linger = struct.pack("ii", 1, 0)
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        wire.writer.transport.abort()
    else:
        wire.close_connection()


async def released(exchange):
    """The gateway closes the connection to the upstream within the promised time."""
    async with asyncio.timeout(PROMISED_SECONDS):
        await exchange.gateway_left.wait()


async def abandoned(gateway, token):
    """The one row; nothing else is left of the request."""
    row = (await wait_until_true(rows.read_usage_records))[0]
    assert (row.status, row.http_status) == ("abandoned", 499)
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 0)
    assert len(await rows.read_usage_records()) == 1
    after = await gateway.read_token_row(token)
    assert (after.state, after.strikes, after.has_cooldown) == ("active", 0, False)
    assert gateway.count_failures() == 0
    return row


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("how", WAYS)
async def test_while_the_upstream_has_not_answered(gateway, upstream, alice, token, streams, how):
    upstream.queue_scripts(keep_silent)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=streams))
        exchange = await upstream.wait_for_request()
        leave(wire, how)
        await released(exchange)
    row = await abandoned(gateway, token)
    assert [attempt["outcome"] for attempt in row.attempts] == ["abandoned"]


@WHOLE_AND_STREAMED
async def test_while_the_upstream_has_sent_its_head_only(gateway, upstream, alice, token, streams):
    upstream.queue_scripts(
        send_pieces(encode_response_head(200, {"content-type": "text/event-stream"}), upstream.gate)
    )
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=streams))
        exchange = await upstream.wait_for_request()
        await upstream.gate.wait_until_reached()
        wire.close_connection()
        await released(exchange)
    await abandoned(gateway, token)


@pytest.mark.parametrize("how", WAYS)
async def test_in_the_middle_of_a_stream(gateway, upstream, alice, token, how):
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("one", " two", " three"),
            upstream.gate,
            speech.chat_chunk(finish="stop"),
            DONE,
        )
    )
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        await wire.reader.readuntil(b"three")
        leave(wire, how)
        await released(upstream.last_exchange)
    row = await abandoned(gateway, token)
    assert row.estimated
    assert row.completion_tokens == 3
    assert row.prompt_tokens > 0
    assert row.provider_id is not None
    assert row.token_id == token.pk
    assert row.first_byte_ms is not None


async def test_after_the_usage_of_the_upstream_has_come(gateway, upstream, alice, token):
    usage = speech.usage_chunk(speech.token_usage(50, 7))
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("one"),
            usage,
            *speech.content_chunks(" two"),
            upstream.gate,
            DONE,
        )
    )
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        await wire.reader.readuntil(b"two")
        wire.close_connection()
        await released(upstream.last_exchange)
    row = await abandoned(gateway, token)
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (50, 7, False)


async def test_a_caller_that_reads_all_text_but_not_the_end_pays_all_the_same(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("one two three"),
            speech.chat_chunk(finish="stop"),
            upstream.gate,
            DONE,
        )
    )
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        await wire.reader.readuntil(b'"stop"')
        wire.close_connection()
        await released(upstream.last_exchange)
    row = (await wait_until_true(rows.read_usage_records))[0]
    assert row.completion_tokens == 3


async def test_while_a_resting_provider_is_about_to_be_asked_again(
    gateway, upstream, alice, provider, token, settings
):
    settings.ATTEMPT_PAUSE_SECONDS = 30
    await run_in_thread(rows.create_tokens, provider, "sk-up-2", "sk-up-3")
    await gateway.reload_rows()
    upstream.queue_scripts(send_refusal(500), send_refusal(500))
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key))
        await upstream.wait_for_request(2)
        wire.close_connection()
        row = (await wait_until_true(rows.read_usage_records))[0]
    assert row.status == "abandoned"
    assert len(upstream.requests) == 2


async def test_while_connecting(gateway, alice, token):
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as deaf,
        socket.socket() as one,
        socket.socket() as two,
    ):
        for caller in (one, two):  # fill what the kernel accepts for it
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        await run_in_thread(
            rows.move_all_providers, base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        )
        await gateway.reload_rows()
        async with gateway.open_bare_connection() as wire:
            await wire.send(build_raw_request(alice.key))
            await wait_until_true(lambda: gateway.inner.ledger._open_requests)  # it is accepted
            wire.close_connection()
            await abandoned(gateway, token)


async def test_before_the_body_is_whole_there_is_no_request_yet(gateway, upstream, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, 100) + b'{"model"')
        await wait_until_true(lambda: gateway.inner.requests_in_flight)
        wire.close_connection()
        await wait_until_true(lambda: not gateway.inner.requests_in_flight)
    assert upstream.requests == []
    assert await rows.read_usage_records() == []


@WHOLE_AND_STREAMED
async def test_while_the_row_is_being_written(gateway, upstream, alice, ledger_lock, streams):
    async with ledger_lock, gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=streams))
        await upstream.wait_for_request()
        await asyncio.sleep(
            0.05
        )  # the answer is whole, its row waits; that is not to be seen from outside
        wire.close_connection()
        await wait_until_true(lambda: not gateway.connection_count)
    row = (await wait_until_true(rows.read_usage_records))[0]
    assert (row.prompt_tokens, row.completion_tokens) == (9, 3)
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 0)
    assert len(await rows.read_usage_records()) == 1


async def test_with_a_second_request_waiting_behind(gateway, upstream, alice, token):
    upstream.queue_scripts(send_stream(*speech.content_chunks("one"), upstream.gate, DONE))
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        await wire.reader.readuntil(b"one")
        await wire.send(build_raw_request(alice.key))
        await wire.send(b"junk" * 15_000)
        wire.close_connection()
        async with asyncio.timeout(3):  # behind pipelined bytes
            await upstream.last_exchange.gateway_left.wait()
    rows_ = await wait_until_true(rows.read_usage_records)
    assert rows_[0].status == "abandoned"
    assert len(upstream.requests) == 1


async def test_the_connection_to_an_upstream_that_was_left_is_not_used_again(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(send_stream(*speech.content_chunks("one"), upstream.gate, DONE))
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        await wire.reader.readuntil(b"one")
        wire.close_connection()
        await released(upstream.last_exchange)
    answer = await gateway.request_chat(alice.key)
    assert answer.text == "Hello there!"
    assert upstream.connections == 2


@pytest.mark.settings(PING_SECONDS=0.02)
async def test_while_pings_go_out(gateway, upstream, alice, token):
    upstream.queue_scripts(send_stream(upstream.gate, *speech.content_chunks("one")))
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until(": ping\n\n: ping")
        await reading.leave_early()
        await released(upstream.last_exchange)
    await abandoned(gateway, token)


async def test_many_at_once_leave_nothing_behind(gateway, upstream, alice, token):
    gate = Gate()
    upstream.set_default_script(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )

    async def come_and_go(stays):
        async with gateway.open_stream(alice.key) as reading:
            await reading.read_until("one")
            if stays:
                return (await reading.read_rest()).is_complete
        return None

    visitors = [asyncio.create_task(come_and_go(number % 2)) for number in range(40)]
    await asyncio.gather(*visitors[::2])
    gate.open()
    assert await asyncio.gather(*visitors[1::2]) == [True] * 20

    async def all_written():
        return len(await rows.read_usage_records()) == 40

    await wait_until_true(all_written)
    assert (
        sorted(row.status for row in await rows.read_usage_records())
        == ["abandoned"] * 20 + ["complete"] * 20
    )
    after = await gateway.read_token_row(token)
    assert (after.strikes, after.has_cooldown) == (0, False)
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 0)


async def test_a_caller_that_only_stops_sending_has_left(gateway, upstream, alice, token):
    """Half-closing is taken as leaving, as most servers do."""
    upstream.queue_scripts(keep_silent)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key))
        exchange = await upstream.wait_for_request()
        wire.writer.write_eof()
        await released(exchange)
    await abandoned(gateway, token)
