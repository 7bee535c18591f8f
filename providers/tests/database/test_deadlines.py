"""Late work over a connection ends by itself; no file is closed while the event loop watches it."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from providers.database.deadlines import TimeLimit


class Line:
    """A connection to a server that never answers; reading waits as psycopg does, on the file's
    number.
    """

    def __init__(self, ours: socket.socket) -> None:
        self._ours, self.watched, self.closed_under = ours, False, False

    def fileno(self) -> int:
        return self._ours.fileno()

    async def close(self) -> None:
        self.closed_under = self.closed_under or self.watched
        self._ours.close()

    async def read(self) -> bytes:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        self.watched = True
        loop.add_reader(self._ours.fileno(), ready.set)
        try:
            await ready.wait()
            data = self._ours.recv(1)
        finally:
            loop.remove_reader(self._ours.fileno())
            self.watched = False
        if not data:
            raise ConnectionError("closed")
        return data


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        yield Line(ours)
    ours.close()


async def test_what_is_late_is_woken_before_its_connection_is_closed(line: Line) -> None:
    patience = TimeLimit(0.01)
    with pytest.raises(TimeoutError):
        await patience.wait_for_work(line.read(), line)
    await patience.end_late_work()
    assert not line.watched
    assert not line.closed_under
    assert line.fileno() == -1


async def test_work_that_has_only_begun_when_all_ends_is_woken_too(line: Line) -> None:
    patience = TimeLimit(10)
    waiting = asyncio.create_task(patience.wait_for_work(line.read(), line))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await patience.end_late_work()
    assert (line.watched, line.closed_under, line.fileno()) == (False, False, -1)


async def test_late_work_that_ends_by_itself_has_its_connection_closed(line: Line) -> None:
    patience, gate = TimeLimit(0.01), asyncio.Event()
    with pytest.raises(TimeoutError):
        await patience.wait_for_work(gate.wait(), line)
    gate.set()
    await asyncio.sleep(0.01)
    await patience.end_late_work()
    assert line.fileno() == -1
