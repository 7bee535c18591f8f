"""Run database work of the event loop in threads, and answer when the database is late or away.

The work is a plain function that may use the ORM; connections that are too old are closed before
and after it. Each kind of work has its own threads, so that no kind can occupy them all: QUICK for
look-ups that every request may need (API keys, claims of tokens), TURNS for saved conversations,
LONG for documents, search and exports, HOUSEKEEPING for work that no caller waits for. At most
`WORK_PER_CALLER` pieces of work of one caller run at once. Work that nobody waits for any more is
not started.
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
WORK_PER_CALLER = 2  # fewer than the threads of any kind that serves callers


class TooLate(OperationalError):
    """The work took longer than anybody waits for it: its transaction is rolled back."""


class CallerQueue:
    """The queue of one caller's work: WORK_PER_CALLER pieces run, the others wait in turn.

    It is no `KeyedLocks`: several pieces run at once, and the longest wait depends on the position.
    """

    def __init__(self) -> None:
        self._work_slots = asyncio.Semaphore(WORK_PER_CALLER)
        self._waiting_count = 0

    async def wait_for_work_slot(self) -> None:
        """Wait until the next piece of work may start.

        The limit is DATABASE_TIMEOUT_SECONDS, and as much again for each WORK_PER_CALLER pieces
        that wait ahead of it. Raises DatabaseUnavailable when that time is over.
        """
        rounds = 1 + self._waiting_count // WORK_PER_CALLER
        self._waiting_count += 1
        try:
            async with asyncio.timeout(rounds * settings.DATABASE_TIMEOUT_SECONDS):
                await self._work_slots.acquire()
        except TimeoutError:
            raise make_late_error() from None
        finally:
            self._waiting_count -= 1

    def release_work_slot(self) -> None:
        """Let the next piece of work start, because one has ended."""
        self._work_slots.release()


class Threads:
    """The threads of one kind of work."""

    def __init__(self, kind: str, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=f"database-{kind}")
        self._caller_queues: WeakValueDictionary[Hashable, CallerQueue] = WeakValueDictionary()

    async def run_work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(*args)` in a thread and return its result.

        The function may use the ORM. Any error that it raises is raised here.
        """
        return await asyncio.wrap_future(self._submit_work(partial(function, *args, **kwargs)))

    async def start_work(
        self, caller: Hashable, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[T]":
        """Start `function(*args)` in a thread, as soon as less than WORK_PER_CALLER others run.

        Only the caller's own work is counted.

        Returns a future as soon as the work is given to the threads: time spent waiting for the
        caller's own earlier work does not count as waiting for the database. Raises
        DatabaseUnavailable when the earlier work takes so long that the database must be in
        trouble.
        """
        queue = self._caller_queues.get(caller)
        if queue is None:
            queue = self._caller_queues[caller] = CallerQueue()
        await queue.wait_for_work_slot()
        loop = asyncio.get_running_loop()

        def schedule_release(done: Future[T]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.release_work_slot)

        work = self._submit_work(partial(function, *args, **kwargs))
        # the thread is busy until the work ends, even if nobody waits for it
        work.add_done_callback(schedule_release)
        return asyncio.wrap_future(work)

    def _submit_work(self, function: Callable[[], T]) -> "Future[T]":
        def run_with_fresh_connections() -> T:
            close_old_connections()
            try:
                return function()
            finally:
                close_old_connections()

        return self._executor.submit(run_with_fresh_connections)


QUICK = Threads("quick", 4)
TURNS = Threads("turns", 4)
LONG = Threads("long", 3)
HOUSEKEEPING = Threads("housekeeping", 2)


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function(*args)` in a thread of the kind TURNS and return its result."""
    return await TURNS.run_work(function, *args, **kwargs)


async def await_in_time(work: Awaitable[T]) -> T:
    """Return the result of database work, within DATABASE_TIMEOUT_SECONDS.

    Raises DatabaseUnavailable when the database is away or takes longer; InternalError when the
    error is no outage.
    """
    try:
        async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
            return await await_work(work)
    except TimeoutError:
        raise make_late_error() from None


def make_late_error() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)


async def await_work(work: Awaitable[T]) -> T:
    """Return the result of database work, however long it takes.

    Raises DatabaseUnavailable when the database is away; InternalError for any other database
    error.
    """
    try:
        return await work
    except AnyDatabaseError as error:
        raise explain_database_error(error) from error


# --- in a database thread -------------------------------------------------------------------------
def limit_transaction(until: float) -> None:
    """Let no statement of this transaction run or wait for a lock after `until`.

    `until` is a time of the monotonic clock. On Postgres this sets statement_timeout and
    lock_timeout. Raises TooLate when that time is over.
    """
    require_time_left(until)
    if until < math.inf and connection.vendor == "postgresql":
        milliseconds = max(1, int((until - time.monotonic()) * 1_000))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = "
                f"{milliseconds}"
            )


def require_time_left(until: float) -> None:
    """Raise TooLate after `until`: the rollback then releases the transaction's locks."""
    if time.monotonic() > until:
        raise TooLate("The work took longer than anybody waits for it.")
