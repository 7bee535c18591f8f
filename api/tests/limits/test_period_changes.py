"""Budgets whose period or raise ends while requests run."""

from dataclasses import replace

import pytest

from api.limits import limit_keeper
from api.limits.budget_periods import BudgetPeriod
from api.limits.caller_limits import Resource, Rule
from api.limits.limit_keeper import LimitKeeper, LimitRefused
from api.limits.stores.memory_store import MemoryStore
from api.tests.limits.limit_cast import KEY, load_nothing, make_meter

MIDNIGHT = 20_000 * 86_400.0
DAY = Rule(KEY, Resource.DAY_BUDGET, 100, BudgetPeriod("day"))


class Clock:
    """The clock of the keeper, with a UNIX time to change."""

    def __init__(self) -> None:
        self.now = MIDNIGHT - 0.1

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limit_keeper.time, "time", clock.time)
    return clock


@pytest.fixture
def keeper() -> LimitKeeper:
    return LimitKeeper(MemoryStore(load_nothing))


async def test_a_request_over_midnight_is_paid_from_the_day_it_began(
    keeper: LimitKeeper, clock: Clock
) -> None:
    over_midnight = await keeper.reserve([(DAY, 100)])
    clock.now = MIDNIGHT
    next_day = await keeper.reserve([(DAY, 100)])
    over_midnight.settle(make_meter(micro_usd=60))
    over_midnight.record_commit()
    next_day.settle(make_meter(micro_usd=90))
    next_day.record_commit()
    rest = await keeper.reserve([(DAY, 10)])
    rest.settle(make_meter(micro_usd=10))
    rest.record_commit()
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(DAY, 1)])
    assert "it is renewed at 2024-10-05 00:00 (UTC)" in refused.value.refusal.error.message
    held = [allowance.held for allowance in keeper._allowances.values()]
    assert sum(held) == 40  # of the day before; the next tick gives it back


async def test_a_raise_that_ends_while_requests_run_holds_for_later_ones_no_more(
    keeper: LimitKeeper, clock: Clock
) -> None:
    raised = replace(DAY, raise_amount=50, raise_until=MIDNIGHT - 0.05)
    running = await keeper.reserve([(raised, 120)])
    clock.now = MIDNIGHT - 0.01
    running.settle(make_meter(micro_usd=120))
    running.record_commit()
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(raised, 1)])
    error = refused.value.refusal.error
    assert error.shown_code == "insufficient_quota"
    assert "0.0001 USD a day" in error.message


async def test_a_caller_with_another_amount_of_the_same_limit_changes_it_for_all(
    keeper: LimitKeeper, clock: Clock
) -> None:
    """A key that was read before its limit changed, and one that was read later."""
    later = replace(DAY, amount=200)
    assert keeper.find_allowance(DAY, clock.now).limit == 100
    assert keeper.find_allowance(later, clock.now).limit == 200
    assert keeper.find_allowance(DAY, clock.now).limit == 100
    assert keeper.find_allowance(later, clock.now).limit == 200
