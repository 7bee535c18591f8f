"""Rules and a store for the tests of limits."""

import time
from collections import defaultdict

from api.limits.budget_periods import BudgetPeriod
from api.limits.caller_limits import Resource, Rule, Subject
from api.limits.stores.limit_store import Counter, Lease, LeaseRequest, find_slice
from providers.protocol.attempt import Attempt
from providers.protocol.usage_meter import RequestCost, TokenUsage, UsageMeter

KEY = Subject("key", 7, "the API key sk-ps-1234…")


def make_rule(resource: Resource, amount: int) -> Rule:
    """Return a limit of one key; budgets are for all time."""
    period = BudgetPeriod("total") if resource.endswith("_budget_usd") else None
    return Rule(KEY, resource, amount, period)


def make_meter(tokens: int = 0, micro_usd: int | None = None) -> UsageMeter:
    """Return the meter of a request that ended with this usage."""
    meter = UsageMeter()
    meter.begin_call({}).attempt = Attempt("fake", "m")
    meter.counted = TokenUsage(tokens)
    meter.cost = RequestCost(micro_usd)
    return meter


class SharedLeases:
    """The leases and the spent money of leased counters, which several stores share."""

    def __init__(self) -> None:
        self.held: dict[Counter, dict[int, int]] = defaultdict(dict)
        self.spent: dict[Counter, int] = defaultdict(int)


class SharedStore:
    """The store of one process, over leases in memory that other processes have too."""

    is_shared = True
    generation = 0

    def __init__(self, leases: SharedLeases, holder: int) -> None:
        self.leases = leases
        self.holder = holder

    async def exchange(self, requests: list[LeaseRequest]) -> list[Lease]:
        return [self._lease(request) for request in requests]

    def _lease(self, request: LeaseRequest) -> Lease:
        held = self.leases.held[request.counter]
        held[self.holder] = request.held
        spent = self.leases.spent[request.counter]
        free = request.limit - spent - sum(held.values())
        granted = find_slice(request.needed, free)
        held[self.holder] += granted
        return Lease(granted, free - granted, spent=spent)

    def record_spent(self, counter: Counter, micro_usd: int) -> None:
        """Do nothing: the test adds up what is spent when a record is committed."""

    async def close(self) -> None:
        """Do nothing."""


async def load_nothing(counter: Counter) -> int:
    """Return that no money is spent yet."""
    return 0


def now() -> float:
    return time.time()
