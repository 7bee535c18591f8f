"""Requests that come at the same moment, while there is room for all of them."""

import asyncio

from api.limits.caller_limits import Resource
from api.limits.limit_keeper import LimitKeeper
from api.limits.stores.memory_store import MemoryStore
from api.tests.limits.limit_cast import load_nothing, make_rule

ALL = 20


async def test_a_request_that_takes_the_lease_of_another_costs_nobody_an_answer() -> None:
    keeper = LimitKeeper(MemoryStore(load_nothing))
    rule = make_rule(Resource.REQUESTS, ALL)
    count = 0

    async def reserve_at(turn: int) -> None:
        """Reserve after so many turns of the event loop."""
        nonlocal count
        for _ in range(turn):
            await asyncio.sleep(0)
        await keeper.reserve([(rule, 1)])
        count += 1

    async with asyncio.TaskGroup() as group:
        for number in range(ALL):
            group.create_task(reserve_at(number // 4))
    assert count == ALL
