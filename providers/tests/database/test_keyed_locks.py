"""Locks by key."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from providers.database.keyed_locks import KeyedLocks


@pytest.mark.parametrize("make_lock", [asyncio.Lock, threading.Lock])
def test_one_key_has_one_lock_and_another_key_another(make_lock) -> None:
    locks = KeyedLocks(make_lock)
    lock = locks.get_lock((1, "a"))
    assert locks.get_lock((1, "a")) is lock
    assert locks.get_lock((2, "a")) is not lock


@pytest.mark.parametrize("make_lock", [asyncio.Lock, threading.Lock])
def test_a_lock_is_forgotten_with_its_last_user(make_lock) -> None:
    locks = KeyedLocks(make_lock)
    lock = locks.get_lock("a")
    assert len(locks) == 1
    del lock
    gc.collect()
    assert len(locks) == 0


async def test_who_waits_for_a_key_gets_it_after_who_has_it() -> None:
    locks, order = KeyedLocks(asyncio.Lock), []

    async def work(name: str, key: str) -> None:
        async with locks.get_lock(key):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(work("first", "a"), work("second", "a"), work("other", "b"))
    assert [line for line in order if not line.startswith("other")] == [
        "first begins",
        "first ends",
        "second begins",
        "second ends",
    ]
    assert order.index("other begins") < order.index("first ends")
    assert len(locks) == 0


def test_threads_that_ask_at_once_get_the_same_lock() -> None:
    def make_lock_slowly() -> threading.Lock:
        together.wait(0.1)
        return threading.Lock()

    together = threading.Event()
    locks = KeyedLocks(make_lock_slowly)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(locks.get_lock, ["a"] * 8))
    assert len({id(lock) for lock in found}) == 1
