"""Database work of the event loop: plain functions run in threads, with connections that are closed
when old; and what is told when the database cannot answer, or not in time.

Each kind of work has threads of its own, so that none can take them all: QUICK for what every
request may need (key look-ups, claims of tokens), TURNS for what is remembered of requests, LONG
for documents, search and exports, HOUSEKEEPING for what nobody waits for. Of one caller at most
`PER_CALLER` pieces of work run at once. Work that nobody waits for any more is not begun.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import OperationalError, close_old_connections, connection

from providers.database.database_errors import explain_database_error
from providers.exceptions import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")
PER_CALLER = 2  # fewer than any kind has threads that serves callers


class TooLate(OperationalError):
    """The work took so long that nobody waits for it any more: its transaction is rolled back."""


class Line:
    """The work of one caller: PER_CALLER pieces run, others wait in the order in which they came.

    Not a `KeyedLocks`: several pieces run at once, and how long one may wait depends on its place.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(PER_CALLER)
        self._waiting = 0

    async def enter(self) -> None:
        """Return when the next piece may begin. Raises DatabaseUnavailable when those in front are
        late.
        """
        rounds = 1 + self._waiting // PER_CALLER
        self._waiting += 1
        try:
            async with asyncio.timeout(rounds * settings.DATABASE_TIMEOUT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise late() from None
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """A piece has ended: the next one may begin."""
        self._free.release()


class Threads:
    """The threads of one kind of work."""

    def __init__(self, kind: str, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=f"database-{kind}")
        self._lines: WeakValueDictionary[Hashable, Line] = WeakValueDictionary()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args)` in a thread. The function may use the ORM; whatever it raises is raised
        here.
        """

        return await asyncio.wrap_future(self._begin(partial(function, *args, **kwargs)))

    async def start_for(
        self, caller: Hashable, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[T]":
        """`function(*args)` in a thread, for a caller, who waits while enough of his work runs.

        Return the work when it has been given to the threads: waiting for one's own work is not
        waiting for the database. Raises DatabaseUnavailable when that takes so long that the
        database cannot be well.
        """
        line = self._lines.get(caller)
        if line is None:
            line = self._lines[caller] = Line()
        await line.enter()
        loop = asyncio.get_running_loop()

        def leave(done: Future[T]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(line.leave)

        work = self._begin(partial(function, *args, **kwargs))
        work.add_done_callback(leave)  # when it has ended, not when nobody waits for it any more
        return asyncio.wrap_future(work)

    def _begin(self, function: Callable[[], T]) -> "Future[T]":
        def work() -> T:
            close_old_connections()
            try:
                return function()
            finally:
                close_old_connections()

        return self._executor.submit(work)


QUICK = Threads("quick", 4)
TURNS = Threads("turns", 4)
LONG = Threads("long", 3)
HOUSEKEEPING = Threads("housekeeping", 2)


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args)` in a thread of the turns' kind."""
    return await TURNS.run(function, *args, **kwargs)


async def in_time(answer: Awaitable[T]) -> T:
    """What the database answers. Raises DatabaseUnavailable when it cannot, or takes longer than
    its patience; InternalError when it refuses what it is asked.
    """
    try:
        async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
            return await heard(answer)
    except TimeoutError:
        raise late() from None


def late() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)


async def heard(answer: Awaitable[T]) -> T:
    """What the database answers, however long that takes. Raises DatabaseUnavailable,
    InternalError.
    """
    try:
        return await answer
    except AnyDatabaseError as error:
        raise explain_database_error(error) from error


# --- in a database thread -------------------------------------------------------------------------
def limit_transaction(until: float) -> None:
    """Let no statement of this transaction run or wait for a lock after `until` (of the monotonic
    clock). Raises TooLate when that is over.
    """
    require_time(until)
    if until < math.inf and connection.vendor == "postgresql":
        milliseconds = max(1, int((until - time.monotonic()) * 1_000))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = "
                f"{milliseconds}"
            )


def require_time(until: float) -> None:
    """Raise TooLate after `until`, so that the transaction is rolled back and lets others go on."""
    if time.monotonic() > until:
        raise TooLate("The work took longer than anybody waits for it.")
