"""A viewer that does not read costs no memory, and learns everything once it reads again."""

import asyncio
import json
import socket
from contextlib import closing

import pytest
from channels.testing import WebsocketCommunicator
from django.db import OperationalError
from websockets.exceptions import ConnectionClosed

from proxysite.asgi import Application
from proxysite.desk.live.board import BOARD_SCOPE_KEY, LiveBoard
from proxysite.desk.live.frames import NEWS, SNAPSHOT
from proxysite.desk.live.viewer_socket import LiveSocket
from proxysite.desk.live.watch import Watch
from proxysite.server.connections.viewer_connection import ViewerConnection
from proxysite.testing import wait_until_true
from proxysite.tests.desk.live.viewers import MAY_WATCH, open_board, sign_in

FRAME = {
    "at": "2026-01-01T00:00:00Z",
    "running": [],
    "finished": [],
    "changes": [],
    "breakers": [],
    "tasks": [],
}


def make_frames(number):
    return {kind: FRAME | {"kind": kind, "number": number} for kind in (SNAPSHOT, NEWS)}


async def read_number(viewer):
    frame = json.loads(await viewer.wait_for_frame())
    return frame["kind"], frame["number"]


async def test_a_viewer_that_missed_frames_gets_a_snapshot_and_nothing_was_queued(monkeypatch):
    monkeypatch.setattr(LiveBoard, "_start", lambda board: None)
    board = LiveBoard(lambda: None)
    slow, quick = board.add_viewer(True), board.add_viewer(True)
    for number in range(5):
        board._offer_frames(make_frames(number))
        kind = SNAPSHOT if number == 0 else NEWS
        assert await read_number(quick) == (kind, number)
    assert await read_number(slow) == (SNAPSHOT, 0)  # the one frame that waited
    board._offer_frames(make_frames(5))
    assert await read_number(slow) == (SNAPSHOT, 5)
    board._offer_frames(make_frames(6))
    assert await read_number(slow) == (NEWS, 6)


async def test_a_frame_of_many_viewers_is_made_once(monkeypatch):
    made = []

    def encode_frame(frame, *, with_pool):
        made.append((frame["kind"], with_pool))
        return "{}"

    monkeypatch.setattr(LiveBoard, "_start", lambda board: None)
    monkeypatch.setattr("proxysite.desk.live.board.encode_frame", encode_frame)
    board = LiveBoard(lambda: None)
    for _ in range(10):
        board.add_viewer(True)
        board.add_viewer(False)
    board._offer_frames(make_frames(0))
    assert sorted(made) == [(SNAPSHOT, False), (SNAPSHOT, True)]


async def open_silent_viewer(gateway, cookie):
    """A viewer that has shaken hands, and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
    head = (
        f"GET /ws/live/ HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: {gateway.url}\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
    )
    await asyncio.get_running_loop().sock_sendall(sock, head.encode())
    await wait_until_true(lambda: gateway.live_board.viewer_count == 1)
    return sock


async def test_a_viewer_that_stops_reading_blocks_nobody_and_is_dropped(gateway, monkeypatch):
    def encode_large_frame(frame, *, with_pool):
        return json.dumps({"kind": frame["kind"], "finished": [], "filler": "x" * 200_000})

    monkeypatch.setattr("proxysite.desk.live.board.FRAME_SECONDS", 0.005)
    monkeypatch.setattr("proxysite.desk.live.board.encode_frame", encode_large_frame)
    cookie, _ = await sign_in(*MAY_WATCH)
    sock = await open_silent_viewer(gateway, cookie)
    with closing(sock):
        (viewer,) = gateway.live_board._viewers
        await wait_until_true(lambda: viewer.is_behind and viewer.wants_snapshot)
        connections = gateway._server.server_state.connections
        (connection,) = [one for one in connections if isinstance(one, ViewerConnection)]
        waiting_bytes = connection.transport.get_write_buffer_size()
        async with open_board(gateway, cookie) as board:
            for _ in range(20):
                await board.read_frame()
        assert connection.transport.get_write_buffer_size() == waiting_bytes < 2 * 200_100
        connection.keepalive_timeout()  # as when no pong has come in time
        await wait_until_true(lambda: gateway.live_board.viewer_count == 0)


# --- the application, as any ASGI server calls it -----------------------------------------------
def make_scope_headers(cookie, origin="http://127.0.0.1"):
    headers = [(b"host", b"127.0.0.1"), (b"origin", origin.encode())]
    return [*headers, (b"cookie", cookie.encode())]


async def test_the_consumer_accepts_and_sends_frames(gateway):
    cookie, _ = await sign_in(*MAY_WATCH)
    communicator = WebsocketCommunicator(
        LiveSocket.as_asgi(), "/ws/live/", make_scope_headers(cookie)
    )
    communicator.scope |= {
        BOARD_SCOPE_KEY: gateway.live_board,
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
    }
    assert (await communicator.connect())[0]
    assert json.loads(await communicator.receive_from())["kind"] == SNAPSHOT
    await communicator.disconnect()
    assert gateway.live_board.viewer_count == 0


async def test_a_websocket_at_another_path_is_closed(gateway):
    communicator = WebsocketCommunicator(Application(), "/ws/other/")
    connected, code = await communicator.connect()
    assert (connected, code) == (False, 4404)


# --- faults around it ---------------------------------------------------------------------------
async def test_frames_go_on_while_the_database_does_not_answer(gateway, alice, monkeypatch):
    def fail(*_arguments):
        raise OperationalError("the database is away")

    await gateway.request_chat(alice.key)
    cookie, _ = await sign_in(*MAY_WATCH)
    monkeypatch.setattr("proxysite.desk.live.news_reader.read_news", fail)
    monkeypatch.setattr("proxysite.desk.live.news.read_history", lambda most_rows: fail())
    monkeypatch.setattr("proxysite.desk.live.watch.read_names", lambda users, keys: fail())
    async with open_board(gateway, cookie) as board:
        frame = await board.read_frame()
        assert frame["database_away"]
        await gateway.request_chat(alice.key)
        await board.read_until(lambda frame: board.finished)
        (row,) = board.finished.values()
    assert row["user"] == f"#{alice.user.pk}"


async def test_a_board_that_fails_begins_anew(gateway, monkeypatch, caplog):
    cookie, _ = await sign_in(*MAY_WATCH)
    monkeypatch.setattr("proxysite.desk.live.board.RESTART_SECONDS", 0.01)
    count = 0
    take_sample = Watch.take_sample

    async def fail_twice(watch):
        nonlocal count
        count += 1
        if count <= 2:
            raise ValueError("a fault of ours")
        await take_sample(watch)

    monkeypatch.setattr(Watch, "take_sample", fail_twice)
    async with open_board(gateway, cookie) as board:
        assert await board.read_frame()
    assert "the live board failed and begins anew" in caplog.text
    caplog.clear()


async def test_a_shutdown_closes_viewers(gateway):
    cookie, _ = await sign_in(*MAY_WATCH)
    async with open_board(gateway, cookie) as board:
        await board.read_frame()
        draining = asyncio.create_task(gateway.drain_server())
        with pytest.raises(ConnectionClosed) as closed:
            await board.read_until(lambda frame: False)
        await draining
    assert closed.value.rcvd.code == 1012
