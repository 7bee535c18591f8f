"""The end of a WebSocket: the client leaves, its time is over, or the server shuts down."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from api.tests.endpoints.response_socket.turn_client import open_socket
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, keep_silent, send_stream


def pause_answer(gate):
    begin, *rest = speech.streamed_completion("Now ", "late.")
    return send_stream(begin, gate, *rest, DONE)


async def read_close_code(socket):
    """Return the code with which the server closes the connection."""
    with pytest.raises(ConnectionClosed) as caught:
        await socket.wire.recv()
    return caught.value.rcvd.code


@pytest.mark.parametrize("how", ["closes", "aborts"])
@pytest.mark.parametrize("begun", [False, True], ids=["silent", "begun"])
async def test_the_upstream_is_let_go_when_the_client_leaves(gateway, upstream, alice, how, begun):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate) if begun else keep_silent)
    async with open_socket(gateway, alice.key) as socket:
        await socket.send()
        exchange = await upstream.wait_for_request()
        if begun:
            await socket.read_event()
        if how == "aborts":
            socket.wire.transport.abort()
    await exchange.wait_until_left()
    row = (await wait_until_true(rows.read_usage_records))[0]
    assert (row.status, row.http_status) == ("abandoned", 499)
    gate.open()


@pytest.mark.settings(RESPONSE_SOCKET_IDLE_SECONDS=0.05)
async def test_an_idle_connection_is_closed(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        assert await read_close_code(socket) == 1001


@pytest.mark.settings(RESPONSE_SOCKET_IDLE_SECONDS=0.05)
async def test_a_connection_with_a_running_turn_is_not_idle(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as socket:
        await socket.send()
        await gate.wait_until_reached()
        await asyncio.sleep(0.15)  # thrice the time after which it would be idle
        gate.open()
        assert (await socket.read_turn())[-1]["type"] == "response.completed"
        assert await read_close_code(socket) == 1001


@pytest.mark.settings(RESPONSE_SOCKET_SECONDS=0.3)
async def test_an_old_connection_ends_after_its_running_turn(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as socket:
        await socket.send("One.")
        await socket.send("Two.")
        await gate.wait_until_reached()
        events = []
        while not events or events[-1]["type"] != "error":
            events.append(await socket.read_event())
        assert events[-1]["error"]["code"] == "websocket_connection_limit_reached"
        assert events[-1]["status"] == 400
        gate.open()
        assert (await socket.read_turn())[-1]["type"] == "response.completed"
        last = await socket.read_event()
        assert last["error"]["code"] == "websocket_connection_limit_reached"
        assert await read_close_code(socket) == 1001
    assert len(upstream.requests) == 1


async def test_at_the_shutdown_the_running_turn_ends_first(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as busy, open_socket(gateway, alice.key) as idle:
        await busy.send("One.")
        await gate.wait_until_reached()
        gateway.inner.begin_shutdown()
        assert await read_close_code(idle) == 1012
        gate.open()
        assert (await busy.read_turn())[-1]["type"] == "response.completed"
        assert await read_close_code(busy) == 1012


async def test_pings_are_answered_while_a_turn_runs(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as socket:
        await socket.send()
        await gate.wait_until_reached()
        await (await socket.wire.ping())
        gate.open()
        assert (await socket.read_turn())[-1]["type"] == "response.completed"
