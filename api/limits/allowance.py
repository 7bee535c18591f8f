"""The part of one limit that this process holds: leased from the store, reserved by requests."""

import time
from asyncio import Future
from collections import deque

from api.limits.caller_limits import Rule
from api.limits.stores.limit_store import Counter, Lease, LeaseRequest


class Allowance:
    """The part of one counter that this process holds.

    `free` is leased and not reserved. `reserved` belongs to running requests, and `uncommitted` is
    money that was spent by requests whose records are not committed yet. A windowed counter has
    neither: what a request takes of it is used. `has_overdraft`: one running request may spend more
    than it could reserve; there is at most one for each budget and process.
    """

    __slots__ = (
        "_known_held",
        "_overused",
        "_returned",
        "asking",
        "counter",
        "free",
        "has_overdraft",
        "is_budget",
        "is_windowed",
        "lease",
        "leased_at",
        "limit",
        "needed",
        "refused_until",
        "reserved",
        "rule",
        "running_count",
        "slot",
        "uncommitted",
        "used_at",
        "waiters",
    )

    def __init__(self, counter: Counter, rule: Rule, limit: int) -> None:
        self.counter = counter
        self.is_windowed = counter.is_windowed
        self.is_budget = counter.is_budget
        self.rule = rule
        self.limit = limit
        self.free = 0
        self.reserved = 0
        self.running_count = 0  # requests that took some of it
        self.uncommitted = 0
        self.has_overdraft = False
        self.needed = 0  # by the requests that wait for the next exchange
        self.asking = 0  # requests that wait for an exchange
        self.slot = 0  # that what is free of a windowed counter was leased in
        self.lease: Lease | None = None  # the latest answer of the store
        self.leased_at = 0.0  # times are on the monotonic clock
        self.used_at = time.monotonic()
        self.refused_until = 0.0  # until then the store need not be asked again
        self.waiters: deque[Future[None]] = deque()
        self._returned: dict[int, int] = {}  # slot -> amount
        self._overused = 0  # of a windowed counter, beyond what was leased
        self._known_held: int | None = 0  # by the store; None: nobody knows what it was told

    @property
    def held(self) -> int:
        """Return the whole amount that this process holds of a leased counter."""
        return self.free + self.reserved + self.uncommitted

    @property
    def remaining(self) -> int:
        """Return what is left of the limit, as far as this process knows."""
        left = self.free + (self.lease.remaining if self.lease is not None else self.limit)
        return max(0, min(left, self.limit))

    @property
    def has_news(self) -> bool:
        """Return whether this process holds another amount than the store knows."""
        if self.is_windowed:
            return bool(self._returned or self._overused)
        return self.held != self._known_held

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is held, waited for, or to be given back now or later."""
        is_used = self.held or self.running_count or self.asking or self.waiters
        return not is_used and not self.has_news

    def give_back(self, amount: int, slot: int = 0) -> None:
        """Return the amount that a request took, of a windowed counter in a slot."""
        if self.is_windowed and slot != self.slot:
            self._add_returned(slot, amount)
            return
        self.free += amount
        if not self.is_windowed:
            self.reserved -= amount
        if self.waiters:
            self.wake_next_waiter()

    def settle_tokens(self, taken: int, used: int, slot: int) -> None:
        """Replace the tokens that a request took in a slot by those that it used."""
        if used > taken:
            self._overused += used - taken
        elif used < taken:
            self._add_returned(slot, taken - used)

    def settle_money(self, reserved: int, spent: int) -> None:
        """Replace the money that a request reserved by what it spent, not committed yet.

        A request that cost more than it reserved uses up what is free.
        """
        self.reserved -= reserved
        self.uncommitted += spent
        self.free += reserved - spent
        if self.free < 0:
            self.free = 0
        if self.waiters:
            self.wake_next_waiter()

    def forget_known(self) -> None:
        """Let the store be told anew what is held."""
        self._known_held = None

    def _add_returned(self, slot: int, amount: int) -> None:
        self._returned[slot] = self._returned.get(slot, 0) + amount

    def wake_next_waiter(self) -> None:
        """Wake the request that has waited longest."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def drop_idle(self) -> None:
        """Give back what is free and not needed; the next exchange tells the store."""
        if self.free and self.is_windowed:
            self._add_returned(self.slot, self.free)
        self.free = 0

    def change_limit(self, rule: Rule, limit: int) -> None:
        """Take over another limit: what was leased under the old one is given back."""
        self.rule = rule
        self.limit = limit
        self.refused_until = 0.0
        self.drop_idle()

    # --- exchanges with the store -----------------------------------------------------------------
    def start_exchange(self) -> LeaseRequest:
        """Return the word of this process to the store."""
        needed = self.needed
        self.needed = 0
        if not self.is_windowed:
            return LeaseRequest(self.counter, self.limit, needed, self.held)
        if self.free and needed:
            needed += self.free  # leftovers of an old slot are leased anew
            self.drop_idle()
        returned = tuple(self._returned.items())
        overused = self._overused
        self._returned = {}
        self._overused = 0
        return LeaseRequest(self.counter, self.limit, needed, 0, returned, overused)

    def finish_exchange(self, held: int, lease: Lease) -> None:
        """Take over the answer of the store, which was told of an amount `held`."""
        self.lease = lease
        self.leased_at = time.monotonic()
        if lease.granted and self.is_windowed:
            if lease.slot != self.slot:
                self.drop_idle()  # a request gave it back meanwhile
            self.slot = lease.slot
        self.free += lease.granted
        self._known_held = held + lease.granted
        if lease.remaining < 0 and not self.is_windowed:  # the limit was lowered
            self.free = max(0, self.free + lease.remaining)

    def fail_exchange(self, request: LeaseRequest) -> None:
        """Keep for the next exchange what the store was not told, as far as anybody knows."""
        for slot, amount in request.returned:
            self._add_returned(slot, amount)
        self._overused += request.overused
        self.forget_known()
