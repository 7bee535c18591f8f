"""The store of one process: its sums agree with the records, and it forgets what is over."""

import asyncio

import pytest

from api.limits.caller_limits import Resource
from api.limits.stores import memory_store
from api.limits.stores.limit_store import Counter, Lease, LeaseRequest, StoreUnavailable
from api.limits.stores.memory_store import MemoryStore
from providers.exceptions import DatabaseUnavailable

BUDGET = Counter("key", 7, Resource.TOTAL_BUDGET)
REQUESTS = Counter("key", 7, Resource.REQUESTS)


class Sums:
    """The sums of a database that is slow: `gate` opens when it answers."""

    def __init__(self) -> None:
        self.micro_usd = 0
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load_spent(self, counter: Counter) -> int:
        self.reads += 1
        micro_usd = self.micro_usd
        await self.gate.wait()
        return micro_usd


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time of the monotonic clock, as a list with one number to change."""
    times = [1_000.0]
    monkeypatch.setattr(memory_store.time, "monotonic", lambda: times[0])
    return times


async def lease(store: MemoryStore, counter: Counter, needed: int = 0, held: int = 0) -> Lease:
    [answer] = await store.exchange([LeaseRequest(counter, 1_000, needed, held)])
    return answer


async def pass_minute(store: MemoryStore, now: list[float], held: int = 0) -> None:
    """Let a minute pass in which the store is asked now and then, the last time just before."""
    for _ in range(6):
        now[0] += memory_store.RELOAD_SECONDS / 6
        await lease(store, BUDGET, held=held)
    now[0] += 1


async def test_a_sum_that_may_lack_a_record_is_not_used(now: list[float]) -> None:
    sums = Sums()
    store = MemoryStore(sums.load_spent)
    await lease(store, BUDGET)
    await pass_minute(store, now)
    sums.gate.clear()
    reading = asyncio.create_task(lease(store, BUDGET))
    await asyncio.sleep(0)
    sums.micro_usd = 300  # a record is committed after the sum was read
    store.record_spent(BUDGET, 300)
    sums.gate.set()
    assert (await reading).spent == 300
    sums.micro_usd = 250  # a price was corrected
    assert (await lease(store, BUDGET)).spent == 250


async def test_money_of_which_some_is_held_is_not_read_again(now: list[float]) -> None:
    """The record of a running request could be counted twice."""
    sums = Sums()
    store = MemoryStore(sums.load_spent)
    await lease(store, BUDGET, 10)
    await pass_minute(store, now, held=10)
    await lease(store, BUDGET, held=10)
    assert sums.reads == 1
    await lease(store, BUDGET)
    assert sums.reads == 2


async def test_a_database_that_is_away_leases_nothing_of_the_other_limits(
    now: list[float],
) -> None:
    async def fail(counter: Counter) -> int:
        raise DatabaseUnavailable("away")

    store = MemoryStore(fail)
    with pytest.raises(StoreUnavailable):
        await store.exchange([LeaseRequest(REQUESTS, 10, 5), LeaseRequest(BUDGET, 10, 5)])
    [window] = await store.exchange([LeaseRequest(REQUESTS, 10, 0)])
    assert window.remaining == 10


async def test_counters_of_end_users_who_come_once_are_forgotten(now: list[float]) -> None:
    sums = Sums()
    store = MemoryStore(sums.load_spent)
    for number in range(500):
        await lease(store, Counter("end_user", number, Resource.REQUESTS), 1)
        await lease(store, Counter("end_user", number, Resource.DAY_BUDGET, 86_400.0))
    now[0] += 75
    await lease(store, REQUESTS)
    assert len(store._windows) == 1
    assert len(store._spent) == 0
