"""The queue of those who write to SQLite: in order of coming, the ledger first, and nobody waits
for ever.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction

from providers.database.database_threads import run_in_thread
from providers.queued_sqlite3.write_queue import WriteQueue, write_queue

on_sqlite = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="only SQLite's transactions queue"
)
LONG_SECONDS = 30


def wait_until(question: Callable[[], bool]) -> None:
    """Return when the answer is yes; another thread is on its way there."""
    pause = threading.Event()
    while not question():
        pause.wait(0.001)


def queue_up(queue: WriteQueue, names: list[tuple[str, bool]]) -> list[str]:
    """Let threads of these names queue up one after the other while it is taken; returns who got
    it, in order.
    """
    order: list[str] = []

    def take(name: str, first: bool) -> None:
        with queue.hold_lock(LONG_SECONDS, first=first):
            order.append(name)

    with ThreadPoolExecutor(len(names)) as threads, queue.hold_lock(LONG_SECONDS):
        for number, (name, first) in enumerate(names, 1):
            threads.submit(take, name, first)
            wait_until(lambda number=number: len(queue._waiting) == number)  # type: ignore[misc]
    return order


def test_who_came_first_is_first_and_the_ledger_before_all() -> None:
    names = [("one", False), ("two", False), ("ledger", True), ("three", False)]
    assert queue_up(WriteQueue(), names) == ["ledger", "one", "two", "three"]


def test_who_waits_in_vain_is_told_and_stands_in_nobodys_way() -> None:
    queue = WriteQueue()
    with queue.hold_lock(0):
        assert not queue.acquire(0)
        with pytest.raises(TimeoutError, match="database is locked"), queue.hold_lock(0.01):
            pass
    assert queue.acquire(0)
    queue.release()
    assert queue.acquire(0)


@on_sqlite
@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("ending", ["commit", "rollback", "close"])
async def test_a_transaction_holds_its_place_until_it_ends(ending: str) -> None:
    def transact() -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            get_user_model().objects.create_user("one")
            assert not write_queue.acquire(0)
            with transaction.atomic():  # a savepoint needs no place of its own
                pass
            if ending == "rollback":
                raise ZeroDivisionError
        if ending == "close":
            connection.close()

    await run_in_thread(transact)
    assert write_queue.acquire(0)
    write_queue.release()


@on_sqlite
@pytest.mark.usefixtures("transactional_db")
async def test_a_transaction_whose_connection_is_closed_under_it_gives_its_place_back() -> None:
    def lose() -> None:
        with suppress(Exception), transaction.atomic():
            connection._close()
            raise ZeroDivisionError
        connection.close()

    await run_in_thread(lose)
    assert write_queue.acquire(0)
    write_queue.release()


@on_sqlite
@pytest.mark.usefixtures("transactional_db")
async def test_a_transaction_that_never_gets_its_turn_fails_as_on_a_locked_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def transact() -> None:
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.01)
        with transaction.atomic():
            pass

    with write_queue.hold_lock(0), pytest.raises(OperationalError, match="database is locked"):
        await run_in_thread(transact)
    with write_queue.hold_lock(0):
        pass
