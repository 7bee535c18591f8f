"""Wait for a database that may be frozen, with a time limit."""

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Protocol, TypeVar

T = TypeVar("T")
SHUT_DOWN_SECONDS = 1.0  # for late work to notice that its connection is closed


class Connection(Protocol):
    """The parts of psycopg's AsyncConnection that are needed here."""

    def fileno(self) -> int: ...

    async def close(self) -> None: ...


class TimeLimit:
    """A time limit in seconds for work over a connection.

    Late work is not cancelled: psycopg would first ask the server, which does not answer, to cancel
    the query. The work continues in the background, and its connection is closed when it ends, with
    a result or an error.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late_work: dict[asyncio.Task[object], Connection] = {}
        self._closing_tasks: set[asyncio.Task[None]] = set()

    async def wait_for_work(self, work: Coroutine[object, object, T], connection: Connection) -> T:
        """Return the result of `work`, which uses the connection.

        Raises TimeoutError when the result does not come in time.
        """
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
        except asyncio.CancelledError:
            self._add_late_work(task, connection)
            raise
        if done:
            return task.result()
        self._add_late_work(task, connection)
        raise TimeoutError

    def _add_late_work(self, task: "asyncio.Task[object]", connection: Connection) -> None:
        self._late_work[task] = connection
        task.add_done_callback(self._close_after_work)

    def _close_after_work(self, task: "asyncio.Task[object]") -> None:
        connection = self._late_work.pop(task, None)
        if not task.cancelled():
            task.exception()  # else asyncio logs an error that nobody fetched
        if connection is not None:
            closing = asyncio.ensure_future(connection.close())
            self._closing_tasks.add(closing)
            closing.add_done_callback(self._closing_tasks.discard)

    async def end_late_work(self) -> None:
        """Wait for the end of late work, and close its connections.

        No connection is closed under work that waits for it: the event loop would watch a file
        descriptor that is gone, and uvloop ends the process then. Instead the stream is shut down,
        which wakes the work. Work that has not ended after SHUT_DOWN_SECONDS is cancelled.
        """
        late_work = self._late_work
        self._late_work = {}
        for connection in late_work.values():
            shut_down_stream(connection)
        if late_work:
            _, stuck_tasks = await asyncio.wait(late_work, timeout=SHUT_DOWN_SECONDS)
            for task in stuck_tasks:
                task.cancel()
            await asyncio.gather(*late_work, return_exceptions=True)
        for connection in late_work.values():
            await connection.close()
        await asyncio.gather(*self._closing_tasks, return_exceptions=True)


def shut_down_stream(connection: Connection) -> None:
    """Shut down both directions of a connection's stream, which wakes work that waits for it."""
    import psycopg

    # it may already be closed, or its peer may be gone
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as stream,
    ):
        stream.shutdown(socket.SHUT_RDWR)
