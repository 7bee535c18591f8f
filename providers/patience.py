"""Waiting for a database that may be frozen, without waiting for ever."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Close = Callable[[], Coroutine[Any, Any, None]]


class Patience:
    """Gives work over a connection so many seconds.

    Late work is not cancelled: psycopg would first ask the server, which does not answer, to cancel the query. It goes
    on in the background, and its connection is closed when it has ended, however it did.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late: dict[asyncio.Task[Any], Close] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def wait(self, work: Coroutine[Any, Any, T], close: Close) -> T:
        """The result of `work`, or TimeoutError when it is not there in time; `close` ends its connection."""
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
        except asyncio.CancelledError:
            self._leave(task, close)
            raise
        if done:
            return task.result()
        self._leave(task, close)
        raise TimeoutError

    def _leave(self, task: "asyncio.Task[Any]", close: Close) -> None:
        self._late[task] = close
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        close = self._late.pop(task, None)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
        if close is not None:
            closing = asyncio.ensure_future(close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def end(self) -> None:
        """Close the connections of what is still late."""
        late, self._late = self._late, {}
        for task, close in late.items():
            await close()
            task.cancel()
        waiting: list[Awaitable[Any]] = [*late, *self._closing]
        await asyncio.gather(*waiting, return_exceptions=True)
