"""The keeper of one process: what is refused, what waits, and what comes back."""

import asyncio

import pytest

from api.limits.caller_limits import Resource
from api.limits.limit_keeper import LimitKeeper, LimitRefused
from api.limits.reservation import Reservation
from api.limits.stores.memory_store import MemoryStore
from api.tests.limits.limit_cast import load_nothing, make_meter, make_rule
from proxysite.testing import PATIENCE_SECONDS


@pytest.fixture
def keeper() -> LimitKeeper:
    return LimitKeeper(MemoryStore(load_nothing))


def settle(reservation: Reservation, tokens: int = 0, micro_usd: int | None = None) -> None:
    """Settle a reservation with a record that is committed at once."""
    reservation.settle(make_meter(tokens, micro_usd))
    reservation.record_commit()


async def test_requests_beyond_the_minutes_limit_are_refused_with_the_time_to_wait(
    keeper: LimitKeeper,
) -> None:
    rule = make_rule(Resource.REQUESTS, 3)
    for _ in range(3):
        settle(await keeper.reserve([(rule, 1)]))
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(rule, 1)])
    error = refused.value.refusal.error
    assert (error.shown_status, error.shown_code, error.type) == (
        429,
        "rate_limit_exceeded",
        "requests",
    )
    assert 0 < (error.retry_after_seconds or 0) <= 60.25
    assert "3 requests per minute" in error.message
    assert "the API key sk-ps-1234…" in error.message
    assert refused.value.refusal.limit_name == "key requests_per_minute"


async def test_tokens_that_were_reserved_and_not_used_come_back(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.TOKENS, 1_000)
    for _ in range(20):
        settle(await keeper.reserve([(rule, 200)]), tokens=40)
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(rule, 900)])
    assert refused.value.refusal.error.type == "tokens"
    settle(await keeper.reserve([(rule, 200)]), tokens=200)
    with pytest.raises(LimitRefused):
        await keeper.reserve([(rule, 1)])


async def test_running_requests_are_counted_exactly(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.CONCURRENCY, 2)
    first = await keeper.reserve([(rule, 1)])
    second = await keeper.reserve([(rule, 1)])
    with pytest.raises(LimitRefused):
        await keeper.reserve([(rule, 1)])
    first.release()
    first.release()  # the second time changes nothing
    third = await keeper.reserve([(rule, 1)])
    with pytest.raises(LimitRefused):
        await keeper.reserve([(rule, 1)])
    settle(second)
    settle(third)
    await keeper.reserve([(rule, 1)])


async def test_spent_money_is_refused_for_good_and_names_the_budget(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.TOTAL_BUDGET, 1_000_000)
    settle(await keeper.reserve([(rule, 900_000)]), micro_usd=1_000_000)
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(rule, 1)])
    error = refused.value.refusal.error
    assert (error.shown_code, error.is_final) == ("insufficient_quota", True)
    assert "budget of 1 USD in total of the API key sk-ps-1234…" in error.message


async def test_money_that_is_only_reserved_is_waited_for(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.TOTAL_BUDGET, 100)
    first = await keeper.reserve([(rule, 100)])
    waiting = asyncio.create_task(keeper.reserve([(rule, 60)]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    settle(first, micro_usd=10)
    settle(await waiting, micro_usd=5)


@pytest.mark.settings(LIMIT_WAIT_SECONDS=0)
async def test_money_that_stays_reserved_is_refused_for_a_while_only(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.TOTAL_BUDGET, 100)
    await keeper.reserve([(rule, 100)])
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(rule, 60)])
    error = refused.value.refusal.error
    assert (error.shown_code, error.is_final) == ("rate_limit_exceeded", False)
    assert "reserved by requests that are running" in error.message


async def test_one_request_may_begin_with_the_rest_of_a_budget(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.TOTAL_BUDGET, 100)
    settle(await keeper.reserve([(rule, 90)]), micro_usd=90)
    last = await keeper.reserve([(rule, 50)])
    waiting = asyncio.create_task(keeper.reserve([(rule, 50)]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    settle(last, micro_usd=30)
    with pytest.raises(LimitRefused) as refused:
        await waiting
    assert refused.value.refusal.error.shown_code == "insufficient_quota"


async def test_a_refusal_by_one_limit_takes_nothing_of_the_others(keeper: LimitKeeper) -> None:
    requests = make_rule(Resource.REQUESTS, 5)
    running = make_rule(Resource.CONCURRENCY, 1)
    first = await keeper.reserve([(requests, 1), (running, 1)])
    for _ in range(10):
        with pytest.raises(LimitRefused):
            await keeper.reserve([(requests, 1), (running, 1)])
    settle(first)
    for _ in range(4):
        settle(await keeper.reserve([(requests, 1), (running, 1)]))
    with pytest.raises(LimitRefused) as refused:
        await keeper.reserve([(requests, 1), (running, 1)])
    assert refused.value.refusal.limit_name == "key requests_per_minute"


async def test_a_caller_who_leaves_while_waiting_holds_nothing(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.TOTAL_BUDGET, 100)
    first = await keeper.reserve([(rule, 100)])
    left, stays = (asyncio.create_task(keeper.reserve([(rule, 60)])) for _ in range(2))
    for _ in range(20):
        await asyncio.sleep(0)
    left.cancel()
    settle(first, micro_usd=10)
    settle(await stays, micro_usd=5)
    await asyncio.wait([left])
    assert left.cancelled()


async def test_a_raised_budget_has_room_until_the_raise_ends(keeper: LimitKeeper) -> None:
    from dataclasses import replace

    rule = make_rule(Resource.TOTAL_BUDGET, 100)
    settle(await keeper.reserve([(rule, 100)]), micro_usd=100)
    with pytest.raises(LimitRefused):
        await keeper.reserve([(rule, 10)])
    raised = replace(rule, raise_amount=50, raise_until=2e10)
    settle(await keeper.reserve([(raised, 10)]), micro_usd=10)
    with pytest.raises(LimitRefused):
        await keeper.reserve([(replace(raised, raise_until=1e9), 10)])


@pytest.mark.settings(LIMIT_WAIT_SECONDS=0.05)
async def test_nobody_waits_longer_however_many_wait(keeper: LimitKeeper) -> None:
    rule = make_rule(Resource.TOTAL_BUDGET, 100)
    await keeper.reserve([(rule, 100)])
    waiting = [asyncio.create_task(keeper.reserve([(rule, 60)])) for _ in range(50)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {LimitRefused}
    assert not keeper.find_allowance(rule, 0).waiters
