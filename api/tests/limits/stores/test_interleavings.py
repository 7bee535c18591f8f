"""Any interleaving of processes over the configured store: no limit is passed, all comes back."""

import asyncio
from contextlib import suppress
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api.limits import limit_keeper
from api.limits.budget_periods import BudgetPeriod
from api.limits.caller_limits import Resource, Rule, Subject
from api.limits.limit_keeper import LimitKeeper, LimitRefused, make_counter
from api.limits.reservation import Reservation
from api.limits.stores import make_store, redis_store
from api.limits.stores.limit_store import Counter, Lease, LeaseRequest
from api.limits.stores.memory_store import MemoryStore
from api.limits.stores.spent_money import ALL_TIME_SLOT
from api.models import LimitLease, Spend
from api.tests.limits.limit_cast import make_meter
from providers.database.database_threads import run_in_thread

MOST_TOKENS, MOST_COST = 40, 60
LIMITS = {
    Resource.REQUESTS: 40,
    Resource.TOKENS: 700,
    Resource.CONCURRENCY: 6,
    Resource.TOTAL_BUDGET: 500,
}
PROCESSES = 3
PROCESS = st.integers(0, PROCESSES - 1)
AMOUNTS = st.tuples(st.integers(1, MOST_TOKENS), st.integers(1, MOST_COST))
SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1))  # of tokens and of money that are used
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.lists(st.tuples(PROCESS, AMOUNTS), min_size=1)),
        st.tuples(st.just("settle"), st.integers(0, 9), SHARES),
        st.tuples(st.just("release"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), PROCESS, AMOUNTS, st.integers(0, 6)),
        st.tuples(st.just("tick"), PROCESS),
        st.tuples(st.just("kill"), PROCESS),
        st.tuples(st.just("change"), st.sampled_from(sorted(LIMITS)), st.floats(0.3, 1.5)),
    ),
    max_size=25,
)
subject_ids = count(1_000)
pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let refusals come at once, and Redis have keys of this test alone."""
    monkeypatch.setattr(limit_keeper, "OTHERS_RETURN_SECONDS", 0)
    monkeypatch.setattr(redis_store, "KEY_PREFIX", f"proxysite:test:{uuid4().hex}:")


class Processes:
    """Processes with a store each, and what their requests were allowed and used."""

    def __init__(self) -> None:
        self.subject = Subject("key", next(subject_ids), "the API key sk-ps-1234…")
        self.limits = dict(LIMITS)
        self.highest = dict(LIMITS)
        self.is_shared = connection.vendor == "postgresql"
        self.keepers = [self.open_keeper() for _ in range(PROCESSES if self.is_shared else 1)]
        self.running: list[tuple[int, Reservation]] = []
        self.admitted_count = 0
        self.used_tokens = 0
        self.spent = 0
        self.was_killed = False

    def open_keeper(self) -> LimitKeeper:
        store = make_store() if self.is_shared else MemoryStore(self.load_spent)
        return LimitKeeper(store)

    async def load_spent(self, counter: Counter) -> int:
        return self.spent

    def list_demands(self, tokens: int, micro_usd: int) -> list[tuple[Rule, int]]:
        amounts = {Resource.TOKENS: tokens, Resource.TOTAL_BUDGET: micro_usd}
        return [
            (
                Rule(self.subject, resource, limit, find_period(resource)),
                amounts.get(resource, 1),
            )
            for resource, limit in self.limits.items()
        ]

    async def run_step(self, name: str, *values: Any) -> None:
        await getattr(self, f"do_{name}")(*values)
        self.check_bounds()

    # --- steps ------------------------------------------------------------------------------------
    async def do_reserve(self, requests: list[tuple[int, tuple[int, int]]]) -> None:
        await asyncio.gather(*(self.reserve_one(*request) for request in requests))

    async def reserve_one(self, process: int, amounts: tuple[int, int]) -> None:
        process %= len(self.keepers)
        with suppress(LimitRefused):
            reservation = await self.keepers[process].reserve(self.list_demands(*amounts))
            self.running.append((process, reservation))
            self.admitted_count += 1

    async def do_settle(self, number: int, shares: tuple[float, float]) -> None:
        if not self.running:
            return
        _, reservation = self.running.pop(number % len(self.running))
        amounts = {part.rule.resource: part.amount for part in reservation.parts}
        tokens = int(amounts[Resource.TOKENS] * shares[0])
        is_overdraft = any(part.is_overdraft for part in reservation.parts)
        bound = MOST_COST if is_overdraft else amounts[Resource.TOTAL_BUDGET]
        cost = int(bound * shares[1])
        reservation.settle(make_meter(tokens, cost))
        await self.commit_cost(cost)
        self.used_tokens += tokens
        self.spent += cost
        reservation.record_commit()
        await asyncio.sleep(0)

    async def commit_cost(self, cost: int) -> None:
        def add_cost() -> None:
            row = {"subject_kind": "key", "subject_id": self.subject.id, "slot": ALL_TIME_SLOT}
            Spend.objects.get_or_create(**row, defaults={"micro_usd": 0})
            Spend.objects.filter(**row).update(micro_usd=F("micro_usd") + cost)

        if self.is_shared:
            await run_in_thread(add_cost)

    async def do_release(self, number: int) -> None:
        if self.running:
            _, reservation = self.running.pop(number % len(self.running))
            reservation.release()
            self.admitted_count -= 1

    async def do_cancel(self, process: int, amounts: tuple[int, int], turns: int) -> None:
        keeper = self.keepers[process % len(self.keepers)]
        leaving = asyncio.create_task(keeper.reserve(self.list_demands(*amounts)))
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        if not leaving.cancelled() and leaving.exception() is None:
            leaving.result().release()

    async def do_tick(self, process: int) -> None:
        """Do what a process does when a quarter of a second has passed."""
        keeper = self.keepers[process % len(self.keepers)]
        await keeper.exchange_now()
        for allowance in keeper._allowances.values():
            allowance.used_at = float("-inf")
        keeper.collect_changes()
        await keeper.exchange_now()

    async def do_kill(self, process: int) -> None:
        """Kill a process; its lease ends, and another process begins."""
        if not self.is_shared:
            return
        await self.keepers[process].exchange_now()  # after one that runs
        killed = self.keepers[process].store
        self.running = [entry for entry in self.running if entry[0] != process]
        self.keepers[process] = self.open_keeper()
        self.was_killed = True
        await end_leases(killed, make_counter(self.list_demands(1, 1)[2][0], 0))
        await killed.close()

    async def do_change(self, resource: Resource, factor: float) -> None:
        self.limits[resource] = max(1, int(LIMITS[resource] * factor))
        self.highest[resource] = max(self.highest[resource], self.limits[resource])

    # --- checks -----------------------------------------------------------------------------------
    def check_bounds(self) -> None:
        reserved: dict[Resource, int] = dict.fromkeys(LIMITS, 0)
        for _, reservation in self.running:
            for part in reservation.parts:
                reserved[part.rule.resource] += part.amount
        assert reserved[Resource.CONCURRENCY] <= self.highest[Resource.CONCURRENCY]
        assert self.admitted_count <= self.highest[Resource.REQUESTS]
        tokens = self.used_tokens + reserved[Resource.TOKENS]
        assert tokens <= self.highest[Resource.TOKENS]
        money = self.spent + reserved[Resource.TOTAL_BUDGET]
        assert money <= self.highest[Resource.TOTAL_BUDGET] + len(self.keepers) * MOST_COST

    async def check_all_is_back(self) -> None:
        """Let all requests and quarters of a second end, and ask the store what is left."""
        while self.running:
            await self.do_release(0)
        for process in range(len(self.keepers)):
            await self.do_tick(process)
        for keeper in self.keepers:
            for allowance in keeper._allowances.values():
                assert allowance.is_empty, allowance.counter
        left = {}
        for rule, _ in self.list_demands(1, 1):
            request = LeaseRequest(make_counter(rule, 0), 10_000, 0)
            [lease] = await self.keepers[0].store.exchange([request])
            left[rule.resource] = lease
        self.check_left(left)

    def check_left(self, left: dict[Resource, Lease]) -> None:
        assert left[Resource.CONCURRENCY].remaining == 10_000
        assert left[Resource.TOTAL_BUDGET].remaining == 10_000 - self.spent
        if not self.was_killed:  # its part of a minute comes back with the minute
            assert left[Resource.REQUESTS].remaining == 10_000 - self.admitted_count
            assert left[Resource.TOKENS].remaining == 10_000 - self.used_tokens


def find_period(resource: Resource) -> BudgetPeriod | None:
    return BudgetPeriod("total") if resource is Resource.TOTAL_BUDGET else None


async def end_leases(store: Any, running: Counter) -> None:
    """Let the leases of a process end as if their time had passed."""
    holder = store.holder if hasattr(store, "holder") else store._postgres.holder
    await run_in_thread(LimitLease.objects.filter(holder=holder).delete)
    if store.__class__.__name__ == "RedisStore" and store._redis is not None:
        await store._redis.hdel(f"{redis_store.KEY_PREFIX}{running.name}", holder)


async def run_steps(steps: list[tuple[Any, ...]]) -> None:
    processes = Processes()
    try:
        for name, *values in steps:
            await processes.run_step(name, *values)
        await processes.check_all_is_back()
    finally:
        for keeper in processes.keepers:
            await keeper.store.close()


@pytest.mark.settings(LIMIT_WAIT_SECONDS=0, LIMIT_LEASE_SECONDS=600)
@hypothesis_settings(
    max_examples=25 if connection.vendor == "postgresql" else 150,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(steps=STEPS)
def test_limits_hold_and_what_was_reserved_comes_back_in_any_order(
    steps: list[tuple[Any, ...]],
) -> None:
    asyncio.run(run_steps(steps))
