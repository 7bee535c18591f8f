"""Any interleaving of processes that share a budget: it is spent, and not overspent."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api.limits.caller_limits import Resource
from api.limits.limit_keeper import LimitKeeper, LimitRefused, make_counter
from api.limits.reservation import Reservation
from api.tests.limits.limit_cast import SharedLeases, SharedStore, make_meter, make_rule

LIMIT = 1_000
RULE = make_rule(Resource.TOTAL_BUDGET, LIMIT)
COUNTER = make_counter(RULE, 0)
MOST = 80  # the highest cost of a request
# of one request: its process, what it reserves, what it costs of that, and for how many turns of
# the event loop it runs
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(1, MOST), st.floats(0, 1), st.integers(0, 8), st.booleans()
    ),
    min_size=1,
    max_size=60,
)


class Processes:
    """Four processes that share a budget, and the money that their requests spent."""

    def __init__(self) -> None:
        self.leases = SharedLeases()
        self.keepers = [LimitKeeper(SharedStore(self.leases, number)) for number in range(4)]
        self.refusals_with_money = 0

    @property
    def spent(self) -> int:
        return self.leases.spent[COUNTER]

    async def run_request(self, process: int, bound: int, share: float, turns: int) -> None:
        """Run one request that costs a share of its bound."""
        cost = max(1, int(bound * share))
        try:
            reservation = await self.keepers[process].reserve([(RULE, bound)])
        except LimitRefused as refused:
            is_final = refused.refusal.error.shown_code == "insufficient_quota"
            if self.spent < LIMIT or not is_final:
                self.refusals_with_money += 1
            return
        for _ in range(turns):
            await asyncio.sleep(0)
        await self.commit(reservation, cost, turns)

    async def commit(self, reservation: Reservation, cost: int, turns: int) -> None:
        """Settle a request, and commit its record some turns of the loop later."""
        reservation.settle(make_meter(micro_usd=cost))
        for _ in range(turns % 3):
            await asyncio.sleep(0)
        self.leases.spent[COUNTER] += cost
        reservation.record_commit()
        await asyncio.sleep(0)

    async def tick(self) -> None:
        """Do what each process does every quarter of a second."""
        while True:
            await asyncio.sleep(0)
            for keeper in self.keepers:
                for allowance in keeper._allowances.values():
                    allowance.used_at = float("-inf")  # a quarter of a second has passed
                keeper.collect_changes()
                await keeper.exchange_now()
                for allowance in keeper._allowances.values():
                    allowance.wake_next_waiter()


async def run_processes(requests: list[Any]) -> Processes:
    processes = Processes()
    ticks = asyncio.create_task(processes.tick())
    running = []
    for process, bound, share, turns, waits in requests:
        running.append(asyncio.create_task(processes.run_request(process, bound, share, turns)))
        if waits:
            await asyncio.sleep(0)
    await asyncio.gather(*running)
    for _ in range(20):
        await asyncio.sleep(0)
    ticks.cancel()
    await asyncio.wait([ticks])
    return processes


@hypothesis_settings(max_examples=150, deadline=None)
@given(requests=REQUESTS)
def test_a_budget_is_overspent_by_one_request_of_each_process_at_most(requests: list[Any]) -> None:
    processes = asyncio.run(run_processes(requests))
    assert processes.spent <= LIMIT + 4 * MOST
    assert processes.refusals_with_money == 0
    assert sum(processes.leases.held[COUNTER].values()) == 0


@hypothesis_settings(max_examples=150, deadline=None)
@given(requests=REQUESTS)
def test_what_is_held_and_spent_together_is_within_the_limit_until_a_request_costs_more(
    requests: list[Any],
) -> None:
    processes = asyncio.run(run_processes([(p, b, 1.0, t, w) for p, b, _, t, w in requests]))
    wanted = sum(bound for _, bound, *_ in requests)
    assert processes.spent >= min(wanted, LIMIT)


@pytest.mark.settings(LIMIT_LEASE_SECONDS=15)
async def test_what_a_killed_process_reserved_comes_back_when_its_lease_ends() -> None:
    processes = Processes()
    await processes.keepers[0].reserve([(RULE, LIMIT)])
    waiting = asyncio.create_task(processes.keepers[1].reserve([(RULE, 50)]))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    del processes.leases.held[COUNTER][0]  # the store drops the lease
    processes.keepers[1].find_allowance(RULE, 0).wake_next_waiter()
    reservation = await waiting
    assert reservation.parts[0].amount == 50
