"""Database threads: no caller and no kind of work takes them all, and what nobody waits for is not
begun.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from providers.database import database_threads
from providers.database.database_threads import (
    HOUSEKEEPING,
    LONG,
    QUICK,
    TURNS,
    WORK_PER_CALLER,
    Threads,
    TooLate,
    limit_transaction,
)
from providers.exceptions import DatabaseUnavailable
from providers.models import Revision

# between two pieces of work a thread looks at its connection
pytestmark = pytest.mark.usefixtures("transactional_db")


class Work:
    """Pieces of work that run until the test lets them end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = threading.Event()
        self.news = threading.Semaphore(0)

    def piece(self, name: str) -> str:
        self.begun.append(name)
        self.news.release()
        assert self.may_end.wait(20)
        return name

    async def begins(self, number: int) -> None:
        for _ in range(number):
            assert await asyncio.to_thread(self.news.acquire, timeout=20)


async def run_for(threads: Threads, caller: str, function: Callable[..., Any], *args: Any) -> Any:
    return await (await threads.start_work(caller, function, *args))


@pytest.fixture
def work() -> Iterator[Work]:
    found = Work()
    yield found
    found.may_end.set()


@pytest.mark.parametrize("kind", [TURNS, LONG, HOUSEKEEPING])
async def test_a_kind_of_work_leaves_the_threads_of_others_alone(work: Work, kind: Threads) -> None:
    waiting = [asyncio.create_task(kind.run_work(work.piece, "slow")) for _ in range(50)]
    await work.begins(2)
    for other in {TURNS, LONG, HOUSEKEEPING, QUICK} - {kind}:
        assert await other.run_work(lambda: "at once") == "at once"
    work.may_end.set()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("kind", [TURNS, LONG])
async def test_a_caller_with_much_work_leaves_threads_to_others(work: Work, kind: Threads) -> None:
    waiting = [asyncio.create_task(run_for(kind, "mallory", work.piece, "slow")) for _ in range(50)]
    await work.begins(WORK_PER_CALLER)
    assert await run_for(kind, "alice", lambda: "at once") == "at once"
    assert len(work.begun) == WORK_PER_CALLER
    work.may_end.set()
    assert await asyncio.gather(*waiting) == ["slow"] * 50


async def test_who_waits_for_his_own_work_does_not_wait_for_the_database(
    work: Work, settings: Any
) -> None:
    """Many pieces, each in time, take longer together than one may; only when they are late has the
    database gone.
    """
    settings.DATABASE_TIMEOUT_SECONDS = 0.2
    threads = Threads("test", 4)
    running = [
        asyncio.create_task(run_for(threads, "mallory", time.sleep, 0.02)) for _ in range(40)
    ]
    assert await asyncio.gather(*running) == [None] * 40
    stuck = [
        asyncio.create_task(run_for(threads, "mallory", work.piece, "stuck"))
        for _ in range(WORK_PER_CALLER)
    ]
    await work.begins(WORK_PER_CALLER)
    late = [asyncio.create_task(run_for(threads, "mallory", work.piece, "late")) for _ in range(3)]
    for task in late:
        with pytest.raises(DatabaseUnavailable):
            await task
    work.may_end.set()
    await asyncio.gather(*stuck)
    assert await run_for(threads, "mallory", lambda: "then") == "then"


async def test_work_that_nobody_waits_for_any_more_is_not_begun(work: Work) -> None:
    threads = Threads("test", 1)
    first = asyncio.create_task(run_for(threads, "alice", work.piece, "first"))
    await work.begins(1)
    second = asyncio.create_task(run_for(threads, "alice", work.piece, "second"))
    third = asyncio.create_task(run_for(threads, "alice", work.piece, "third"))
    for task in (second, third):
        await asyncio.sleep(0)
        task.cancel()
    work.may_end.set()
    await first
    assert await run_for(threads, "alice", lambda: "then") == "then"
    assert work.begun == ["first"]


async def test_a_place_is_free_only_when_the_work_has_ended(work: Work) -> None:
    """A caller who goes away at once and comes again does not get more threads so."""
    threads = Threads("test", 4)
    for _ in range(20):
        task = asyncio.create_task(run_for(threads, "mallory", work.piece, "slow"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert await run_for(threads, "alice", lambda: "at once") == "at once"
    assert len(work.begun) <= WORK_PER_CALLER
    work.may_end.set()
    assert await run_for(threads, "mallory", lambda: "then") == "then"


# --- late work ------------------------------------------------------------------------------------
def note(until: float, statement: str = "") -> None:
    with transaction.atomic():
        limit_transaction(until)
        Revision.objects.update_or_create(topic="test", defaults={"version": 7})
        if statement:
            transaction.get_connection().cursor().execute(statement)
        database_threads.require_time_left(until)


@pytest.mark.usefixtures("transactional_db")
async def test_late_work_is_not_begun_or_rolled_back() -> None:
    with pytest.raises(TooLate):
        await TURNS.run_work(note, time.monotonic() - 1)
    assert not await TURNS.run_work(Revision.objects.filter(topic="test").exists)
    await TURNS.run_work(note, time.monotonic() + 20)
    assert await TURNS.run_work(Revision.objects.filter(topic="test").exists)
    await TURNS.run_work(Revision.objects.filter(topic="test").delete)


@pytest.mark.usefixtures("transactional_db")
async def test_a_statement_ends_with_the_patience_of_who_waits() -> None:
    from django.db import OperationalError, connection

    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no limit of a statement's time")
    with pytest.raises(OperationalError):
        await TURNS.run_work(note, time.monotonic() + 0.2, "SELECT pg_sleep(30)")
    assert not await TURNS.run_work(Revision.objects.filter(topic="test").exists)
