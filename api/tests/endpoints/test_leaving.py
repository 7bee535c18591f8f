"""A caller that leaves, in each phase: the upstream is let go within a second, the token keeps its
honour, and one row `abandoned` says what was produced by then.
"""

import asyncio
import socket
import struct

import pytest

from providers.database.database_threads import off_loop
from proxysite.testing import eventually, rows, speech
from proxysite.testing.gateway import request, request_head
from proxysite.testing.upstream import DONE, Gate, head, raw, refuse, silence, stream

STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
PROMISED_SECONDS = 1.0
WAYS = ["closes", "resets"]


def leave(wire, how):
    if how == "resets":
        linger = struct.pack("ii", 1, 0)
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        wire.writer.transport.abort()
    else:
        wire.leave()


async def released(exchange):
    """The gateway closes the connection to the upstream within the promised time."""
    async with asyncio.timeout(PROMISED_SECONDS):
        await exchange.left.wait()


async def abandoned(gateway, token):
    """The one row; nothing else is left of the request."""
    row = (await eventually(rows.usage))[0]
    assert (row.status, row.http_status) == ("abandoned", 499)
    await eventually(lambda: gateway.inner.in_flight == 0)
    assert len(await rows.usage()) == 1
    after = await gateway.token(token)
    assert (after.state, after.strikes, after.resting) == ("active", 0, False)
    assert gateway.failures() == 0
    return row


@STREAMS
@pytest.mark.parametrize("how", WAYS)
async def test_while_the_upstream_has_not_answered(gateway, upstream, alice, token, streams, how):
    upstream.will(silence)
    async with gateway.wire() as wire:
        await wire.send(request(alice.key, stream=streams))
        exchange = await upstream.asked()
        leave(wire, how)
        await released(exchange)
    row = await abandoned(gateway, token)
    assert [attempt["outcome"] for attempt in row.attempts] == ["abandoned"]


@STREAMS
async def test_while_the_upstream_has_sent_its_head_only(gateway, upstream, alice, token, streams):
    upstream.will(raw(head(200, {"content-type": "text/event-stream"}), upstream.gate))
    async with gateway.wire() as wire:
        await wire.send(request(alice.key, stream=streams))
        exchange = await upstream.asked()
        await upstream.gate.arrival()
        wire.leave()
        await released(exchange)
    await abandoned(gateway, token)


@pytest.mark.parametrize("how", WAYS)
async def test_in_the_middle_of_a_stream(gateway, upstream, alice, token, how):
    upstream.will(
        stream(
            *speech.words("one", " two", " three"), upstream.gate, speech.chunk(finish="stop"), DONE
        )
    )
    async with gateway.wire() as wire:
        await wire.send(request(alice.key, stream=True))
        await wire.reader.readuntil(b"three")
        leave(wire, how)
        await released(upstream.last)
    row = await abandoned(gateway, token)
    assert row.estimated
    assert row.completion_tokens == 3
    assert row.prompt_tokens > 0
    assert row.provider_id is not None
    assert row.token_id == token.pk
    assert row.first_byte_ms is not None


async def test_after_the_usage_of_the_upstream_has_come(gateway, upstream, alice, token):
    usage = speech.usage_chunk(speech.usage(50, 7))
    upstream.will(stream(*speech.words("one"), usage, *speech.words(" two"), upstream.gate, DONE))
    async with gateway.wire() as wire:
        await wire.send(request(alice.key, stream=True))
        await wire.reader.readuntil(b"two")
        wire.leave()
        await released(upstream.last)
    row = await abandoned(gateway, token)
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (50, 7, False)


async def test_a_caller_that_reads_all_text_but_not_the_end_pays_all_the_same(
    gateway, upstream, alice, token
):
    upstream.will(
        stream(*speech.words("one two three"), speech.chunk(finish="stop"), upstream.gate, DONE)
    )
    async with gateway.wire() as wire:
        await wire.send(request(alice.key, stream=True))
        await wire.reader.readuntil(b'"stop"')
        wire.leave()
        await released(upstream.last)
    row = (await eventually(rows.usage))[0]
    assert row.completion_tokens == 3


async def test_while_a_resting_provider_is_about_to_be_asked_again(
    gateway, upstream, alice, provider, token, settings
):
    settings.ATTEMPT_PAUSE_SECONDS = 30
    await off_loop(rows.tokens, provider, "sk-up-2", "sk-up-3")
    await gateway.reload()
    upstream.will(refuse(500), refuse(500))
    async with gateway.wire() as wire:
        await wire.send(request(alice.key))
        await upstream.asked(2)
        wire.leave()
        row = (await eventually(rows.usage))[0]
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
        await off_loop(rows.move_all, base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        await gateway.reload()
        async with gateway.wire() as wire:
            await wire.send(request(alice.key))
            await eventually(lambda: gateway.inner.ledger._slots)  # it is accepted
            wire.leave()
            await abandoned(gateway, token)


async def test_before_the_body_is_whole_there_is_no_request_yet(gateway, upstream, alice):
    async with gateway.wire() as wire:
        await wire.send(request_head(alice.key, 100) + b'{"model"')
        await eventually(lambda: gateway.inner.in_flight)
        wire.leave()
        await eventually(lambda: not gateway.inner.in_flight)
    assert upstream.requests == []
    assert await rows.usage() == []


@STREAMS
async def test_while_the_row_is_being_written(gateway, upstream, alice, ledger_lock, streams):
    async with ledger_lock, gateway.wire() as wire:
        await wire.send(request(alice.key, stream=streams))
        await upstream.asked()
        await asyncio.sleep(
            0.05
        )  # the answer is whole, its row waits; that is not to be seen from outside
        wire.leave()
        await eventually(lambda: not gateway.connections)
    row = (await eventually(rows.usage))[0]
    assert (row.prompt_tokens, row.completion_tokens) == (9, 3)
    await eventually(lambda: gateway.inner.in_flight == 0)
    assert len(await rows.usage()) == 1


async def test_with_a_second_request_waiting_behind(gateway, upstream, alice, token):
    upstream.will(stream(*speech.words("one"), upstream.gate, DONE))
    async with gateway.wire() as wire:
        await wire.send(request(alice.key, stream=True))
        await wire.reader.readuntil(b"one")
        await wire.send(request(alice.key))
        await wire.send(b"junk" * 15_000)
        wire.leave()
        async with asyncio.timeout(3):  # behind pipelined bytes
            await upstream.last.left.wait()
    rows_ = await eventually(rows.usage)
    assert rows_[0].status == "abandoned"
    assert len(upstream.requests) == 1


async def test_the_connection_to_an_upstream_that_was_left_is_not_used_again(
    gateway, upstream, alice, token
):
    upstream.will(stream(*speech.words("one"), upstream.gate, DONE))
    async with gateway.wire() as wire:
        await wire.send(request(alice.key, stream=True))
        await wire.reader.readuntil(b"one")
        wire.leave()
        await released(upstream.last)
    answer = await gateway.chat(alice.key)
    assert answer.text == "Hello there!"
    assert upstream.connections == 2


@pytest.mark.settings(PING_SECONDS=0.02)
async def test_while_pings_go_out(gateway, upstream, alice, token):
    upstream.will(stream(upstream.gate, *speech.words("one")))
    async with gateway.reading(alice.key) as reading:
        await reading.until(": ping\n\n: ping")
        await reading.leave()
        await released(upstream.last)
    await abandoned(gateway, token)


async def test_many_at_once_leave_nothing_behind(gateway, upstream, alice, token):
    gate = Gate()
    upstream.always(stream(*speech.words("one"), gate, speech.chunk(finish="stop"), DONE))

    async def come_and_go(stays):
        async with gateway.reading(alice.key) as reading:
            await reading.until("one")
            if stays:
                return (await reading.rest()).done
        return None

    visitors = [asyncio.create_task(come_and_go(number % 2)) for number in range(40)]
    await asyncio.gather(*visitors[::2])
    gate.open()
    assert await asyncio.gather(*visitors[1::2]) == [True] * 20

    async def all_written():
        return len(await rows.usage()) == 40

    await eventually(all_written)
    assert (
        sorted(row.status for row in await rows.usage()) == ["abandoned"] * 20 + ["complete"] * 20
    )
    after = await gateway.token(token)
    assert (after.strikes, after.resting) == (0, False)
    await eventually(lambda: gateway.inner.in_flight == 0)


async def test_a_caller_that_only_stops_sending_has_left(gateway, upstream, alice, token):
    """Half-closing is taken as leaving, as most servers do."""
    upstream.will(silence)
    async with gateway.wire() as wire:
        await wire.send(request(alice.key))
        exchange = await upstream.asked()
        wire.writer.write_eof()
        await released(exchange)
    await abandoned(gateway, token)
