"""The store of limits: it knows for all processes how much of each limit is left.

A process leases amounts from it, in slices, and reserves them for its requests without asking
again. What it does not need it gives back within a quarter of a second. So a limit with room costs
no statement per request, and no amount lies idle in one process while another needs it.

There are two kinds of counters. A *windowed* one (requests or tokens a minute) adds up what was
leased in the last 60 seconds, in slots of a quarter of a second: it forgets by itself. A *leased*
one (running requests, money) adds up what processes hold now, each for LIMIT_LEASE_SECONDS after
its last word, so that a killed process holds nothing for longer. Money that is spent is read from
the sums of the usage records.
"""

from typing import NamedTuple, Protocol

from api.limits.caller_limits import BUDGETS, WINDOWED, Resource

SLOTS_PER_SECOND = 4
WINDOW_SECONDS = 60
WINDOW_SLOTS = WINDOW_SECONDS * SLOTS_PER_SECOND
SLICE_DIVISOR = 32  # a process leases at most this part of what is left, or what it needs at once


class Counter(NamedTuple):
    """One limited quantity of one subject, in one period."""

    kind: str  # of the subject
    subject_id: int
    resource: Resource
    period_start: float = 0.0  # UNIX time, of calendar budgets
    rolling_seconds: int = 0  # of rolling budgets

    @property
    def name(self) -> str:
        """Return a name that is unique among all counters."""
        start = f":{int(self.period_start)}" if self.period_start else ""
        return f"{self.kind}:{self.subject_id}:{self.resource}{start}"

    @property
    def is_windowed(self) -> bool:
        return self.resource in WINDOWED

    @property
    def is_budget(self) -> bool:
        return self.resource in BUDGETS


class LeaseRequest(NamedTuple):
    """The word of a process about one counter: what it holds, needs and gives back.

    `held` is the whole amount that it holds of a leased counter. `returned` are amounts of a
    windowed counter that are given back to the slots they came from; `overused` was used beyond
    what was leased, and counts from now on.
    """

    counter: Counter
    limit: int
    needed: int
    held: int = 0
    returned: tuple[tuple[int, int], ...] = ()  # slot, amount
    overused: int = 0


class Lease(NamedTuple):
    """The answer of the store.

    `granted` may be less than was needed, and more by a slice. `remaining` is what nobody holds.
    `spent` is the money of finished requests. `seconds_until_free` is the time after which a
    windowed counter has room for what is needed, `seconds_until_full` for the whole limit.
    """

    granted: int
    remaining: int
    slot: int = 0
    spent: int = 0
    seconds_until_free: float = 0.0
    seconds_until_full: float = 0.0


class StoreUnavailable(Exception):
    """The store does not answer."""


class LimitStore(Protocol):
    """A store. `is_shared`: other processes use it too.

    `generation` changes when the store may have forgotten what it was told.
    """

    is_shared: bool
    generation: int

    async def exchange(self, requests: list[LeaseRequest]) -> list[Lease]:
        """Lease what is needed and there, and return an answer for each request.

        Raises StoreUnavailable.
        """

    def record_spent(self, counter: Counter, micro_usd: int) -> None:
        """Note that the record of a request is committed, with its cost; writes nothing."""

    async def close(self) -> None:
        """Give up what this process holds, and close connections."""


def find_slice(needed: int, free: int) -> int:
    """Return how much a process gets that needs an amount of which so much is free."""
    return min(free, max(needed, free // SLICE_DIVISOR)) if needed > 0 and free > 0 else 0
