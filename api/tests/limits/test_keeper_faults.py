"""The keeper when its store fails, limits change or callers leave: nothing hangs or is lost."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from api.limits.caller_limits import Resource
from api.limits.limit_keeper import LimitKeeper, LimitRefused, make_counter
from api.limits.reservation import Reservation
from api.limits.stores.limit_store import Lease, LeaseRequest, StoreUnavailable
from api.limits.stores.memory_store import MemoryStore
from api.tests.limits.limit_cast import load_nothing, make_meter, make_rule
from providers.exceptions import DatabaseUnavailable

RUNNING = make_rule(Resource.CONCURRENCY, 4)
TOKENS = make_rule(Resource.TOKENS, 3_200)
BUDGET = make_rule(Resource.TOTAL_BUDGET, 1_000)


class FragileStore(MemoryStore):
    """A store that fails with `failure` while there is one, before or after it has leased."""

    def __init__(self) -> None:
        super().__init__(load_nothing)
        self.failure: Exception | None = None
        self.fails_late = False
        self.requests: list[LeaseRequest] = []
        self.run_meanwhile: Callable[[], None] = lambda: None

    async def exchange(self, requests: list[LeaseRequest]) -> list[Lease]:
        self.requests = requests
        self.run_meanwhile()
        if self.failure is not None and not self.fails_late:
            raise self.failure
        leases = await super().exchange(requests)
        if self.failure is not None:
            raise self.failure
        return leases


@pytest.fixture
def store() -> FragileStore:
    return FragileStore()


@pytest.fixture
def keeper(store: FragileStore) -> LimitKeeper:
    return LimitKeeper(store)


def settle(reservation: Reservation, tokens: int = 0, micro_usd: int | None = None) -> None:
    reservation.settle(make_meter(tokens, micro_usd))
    reservation.record_commit()


async def pass_time(keeper: LimitKeeper) -> None:
    """Do what the keeper does when a quarter of a second has passed."""
    await asyncio.sleep(0)
    for allowance in keeper._allowances.values():
        allowance.used_at = float("-inf")
    keeper.collect_changes()
    await keeper.exchange_now()
    for allowance in keeper._allowances.values():
        allowance.wake_next_waiter()


@pytest.mark.parametrize(
    "failure", [StoreUnavailable("away"), DatabaseUnavailable("late"), RuntimeError("a fault")]
)
async def test_whatever_fails_in_the_store_every_request_has_an_answer(
    keeper: LimitKeeper, store: FragileStore, failure: Exception
) -> None:
    store.failure = failure
    waiting = [asyncio.create_task(keeper.reserve([(RUNNING, 1)])) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, timeout=5)
    assert len(done) == 3
    expected = RuntimeError if isinstance(failure, RuntimeError) else DatabaseUnavailable
    assert {type(task.exception()) for task in waiting} == {expected}
    store.failure = None
    await keeper.reserve([(RUNNING, 1)])


async def test_a_store_that_leased_and_then_failed_is_told_again_what_is_held(
    keeper: LimitKeeper, store: FragileStore
) -> None:
    store.failure = StoreUnavailable("cut")
    store.fails_late = True
    with pytest.raises(DatabaseUnavailable):
        await keeper.reserve([(RUNNING, 1)])
    store.failure = None
    store.requests = []
    await pass_time(keeper)
    assert [(request.counter.resource, request.held) for request in store.requests] == [
        (Resource.CONCURRENCY, 0)
    ]


async def test_a_budget_of_nothing_refuses_every_request_that_costs_something(
    keeper: LimitKeeper,
) -> None:
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(make_rule(Resource.TOTAL_BUDGET, 0), 5)])
    error = refused.value.refusal.error
    assert error.shown_code == "insufficient_quota"
    assert "budget of 0 USD in total" in error.message


async def test_tokens_that_lie_idle_come_back_whatever_was_settled_meanwhile(
    keeper: LimitKeeper, store: FragileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = 1_000
    monkeypatch.setattr("api.limits.stores.memory_store.time.monotonic", lambda: slot / 4)
    reservation = await keeper.reserve([(TOKENS, 10)])
    slot += 1
    reservation.settle(make_meter(4))
    await keeper.exchange_now()
    keeper._changed.update(keeper._allowances.values())
    await keeper.exchange_now()  # tells of six tokens; more are idle
    slot += 1
    await pass_time(keeper)
    [lease] = await store.exchange([LeaseRequest(make_counter(TOKENS, 0), 3_200, 0)])
    assert lease.remaining == 3_200 - 4


async def test_a_request_that_does_not_begin_gives_its_tokens_back_to_their_slot(
    keeper: LimitKeeper, store: FragileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = 1_000
    monkeypatch.setattr("api.limits.stores.memory_store.time.monotonic", lambda: slot / 4)
    first = await keeper.reserve([(TOKENS, 200)])
    slot += 1
    second = await keeper.reserve([(TOKENS, 300)])
    first.release()
    second.release()
    await pass_time(keeper)
    await pass_time(keeper)
    [lease] = await store.exchange([LeaseRequest(make_counter(TOKENS, 0), 3_200, 0)])
    assert lease.remaining == 3_200


async def test_tokens_beyond_the_estimate_count_from_the_end_of_the_answer(
    keeper: LimitKeeper, store: FragileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = 1_000
    monkeypatch.setattr("api.limits.stores.memory_store.time.monotonic", lambda: slot / 4)
    reservation = await keeper.reserve([(TOKENS, 100)])
    slot += 100 * 4  # the answer took a hundred seconds
    settle(reservation, tokens=3_300)
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(TOKENS, 100)])
    assert refused.value.refusal.error.retry_after_seconds == pytest.approx(60, abs=0.5)


async def test_a_settlement_beyond_what_was_reserved_uses_up_what_is_idle(
    keeper: LimitKeeper,
) -> None:
    reservation = await keeper.reserve([(BUDGET, 10)])  # the slice has more than that
    [allowance] = keeper._allowances.values()
    idle = allowance.free
    reservation.settle(make_meter(micro_usd=25))
    assert allowance.free == idle - 15
    assert allowance.held == idle + 10


async def test_a_lowered_limit_holds_for_those_who_wait(keeper: LimitKeeper) -> None:
    first = await keeper.reserve([(BUDGET, 1_000)])
    waiting = asyncio.create_task(keeper.reserve([(BUDGET, 600)]))
    await asyncio.sleep(0)
    lowered = replace(BUDGET, amount=500)
    keeper.find_allowance(lowered, 0)
    settle(first, micro_usd=500)
    for _ in range(5):
        await pass_time(keeper)
    with pytest.raises(LimitRefused) as refused:
        await waiting
    assert refused.value.refusal.error.shown_code == "insufficient_quota"


@pytest.mark.parametrize("turns", range(12))
async def test_a_caller_who_leaves_at_any_moment_holds_nothing(
    keeper: LimitKeeper, turns: int
) -> None:
    """At any turn of the event loop, whether it waits, asks the store or has just got its turn."""
    demands = [(RUNNING, 1), (TOKENS, 100), (BUDGET, 900)]
    first = await keeper.reserve(demands)
    leaving = asyncio.create_task(keeper.reserve(demands))
    stays = asyncio.create_task(keeper.reserve(demands))
    for turn in range(turns):
        if turn == 4:
            settle(first, tokens=100, micro_usd=10)
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    if not leaving.cancelled():
        leaving.result().release()
    settle(first, tokens=100, micro_usd=10)
    for _ in range(4):
        await pass_time(keeper)
    settle(await stays, tokens=100, micro_usd=10)
    for _ in range(3):
        await pass_time(keeper)
    for allowance in keeper._allowances.values():
        assert allowance.is_empty, allowance.counter
        assert (allowance.asking, allowance.has_overdraft) == (0, False)


async def test_end_users_who_come_once_are_forgotten(keeper: LimitKeeper) -> None:
    for number in range(200):
        subject = replace(TOKENS.subject, kind="end_user", id=number)
        rules = [replace(rule, subject=subject) for rule in (TOKENS, BUDGET, RUNNING)]
        settle(await keeper.reserve([(rule, 1) for rule in rules]), tokens=1, micro_usd=1)
    await pass_time(keeper)
    await pass_time(keeper)
    assert not keeper._allowances


async def test_requests_that_reached_no_upstream_do_not_count(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.REQUESTS, 2)
    for _ in range(5):
        reservation = await keeper.reserve([(rule, 1)])
        meter = make_meter()
        meter.calls.clear()
        reservation.settle(meter)
        await pass_time(keeper)


async def test_a_store_that_may_have_forgotten_is_told_all_that_is_held(
    keeper: LimitKeeper, store: FragileStore
) -> None:
    reservation = await keeper.reserve([(RUNNING, 1)])
    await pass_time(keeper)
    store.requests = []
    await pass_time(keeper)
    assert store.requests == []
    store.generation = 1
    await pass_time(keeper)
    assert [request.held for request in store.requests] == [1]
    reservation.release()


async def test_no_limit_refuses_that_gave_back_what_was_idle_while_another_was_asked(
    keeper: LimitKeeper, store: FragileStore
) -> None:
    requests = make_rule(Resource.REQUESTS, 64)  # leased two at a time
    first = await keeper.reserve([(requests, 1), (RUNNING, 1)])
    store.run_meanwhile = keeper.find_allowance(requests, 0).drop_idle
    second = await asyncio.wait_for(keeper.reserve([(requests, 1), (RUNNING, 1)]), 5)
    store.run_meanwhile = lambda: None
    first.release()
    second.release()
