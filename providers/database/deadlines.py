"""Waiting for a database that may be frozen, without waiting for ever."""

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
HANG_UP_SECONDS = 1.0  # for work to notice that its connection is gone


class Connection(Protocol):
    """What is needed of psycopg's AsyncConnection."""

    def fileno(self) -> int: ...

    async def close(self) -> None: ...


class Patience:
    """Gives work over a connection so many seconds.

    Late work is not cancelled: psycopg would first ask the server, which does not answer, to cancel
    the query. It goes on in the background, and its connection is closed when it has ended, however
    it did.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late: dict[asyncio.Task[Any], Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def wait(self, work: Coroutine[Any, Any, T], connection: Connection) -> T:
        """Return the result of `work`, which uses the connection. Raises TimeoutError when it is
        not there in time.
        """
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
        except asyncio.CancelledError:
            self._leave(task, connection)
            raise
        if done:
            return task.result()
        self._leave(task, connection)
        raise TimeoutError

    def _leave(self, task: "asyncio.Task[Any]", connection: Connection) -> None:
        self._late[task] = connection
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        connection = self._late.pop(task, None)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
        if connection is not None:
            closing = asyncio.ensure_future(connection.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def end(self) -> None:
        """Let what is still late end, and close its connections.

        No connection is closed under work that waits for it: the event loop would watch the number
        of a file that is gone, and uvloop ends the process then. The work is woken by the end of
        its stream instead.
        """
        late = self._late
        self._late = {}
        for connection in late.values():
            hang_up(connection)
        if late:
            _, stuck = await asyncio.wait(late, timeout=HANG_UP_SECONDS)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in late.values():
            await connection.close()
        await asyncio.gather(*self._closing, return_exceptions=True)


def hang_up(connection: Connection) -> None:
    """End both directions of a connection's stream; whoever waits for it is woken."""
    import psycopg

    # it may be closed already, or its other end be gone
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as stream,
    ):
        stream.shutdown(socket.SHUT_RDWR)
