"""The store of limits for the only process of a gateway on SQLite."""

import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from api.limits.stores.limit_store import (
    SLOTS_PER_SECOND,
    WINDOW_SLOTS,
    Counter,
    Lease,
    LeaseRequest,
    StoreUnavailable,
    find_slice,
)
from providers.exceptions import GatewayError
from providers.fast_settings import settings

LoadSpent = Callable[[Counter], Awaitable[int]]
SWEEP_SECONDS = 10.0
RELOAD_SECONDS = 60.0  # after which the spent money is read anew, for prices that changed since


class SlotWindow:
    """The amounts of a windowed counter in the last 60 seconds, by slot."""

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}  # slot -> amount, in the order of time
        self.total = 0

    def forget_old_slots(self, now_slot: int) -> None:
        for slot in list(self._amounts):
            if slot > now_slot - WINDOW_SLOTS:
                break
            self.total -= self._amounts.pop(slot)

    def add_amount(self, slot: int, amount: int) -> None:
        """Add an amount to the slot of now."""
        if amount:
            self._amounts[slot] = self._amounts.get(slot, 0) + amount
            self.total += amount

    def take_away(self, slot: int, amount: int) -> None:
        """Take away what was given back to a slot; old slots stay gone."""
        if slot in self._amounts:
            self._amounts[slot] -= amount
            self.total -= amount

    @property
    def is_empty(self) -> bool:
        return not self._amounts

    def count_seconds(self, now_slot: int, amount: int) -> float:
        """Return the seconds after which so much has left the window."""
        for slot, used in self._amounts.items():
            amount -= used
            if amount <= 0:
                return (slot + WINDOW_SLOTS - now_slot) / SLOTS_PER_SECOND
        return 0.0


class SpentMoney(Struct):
    """The money that a subject spent in a period, as this process knows it."""

    micro_usd: int = 0
    read_at: float = float("-inf")  # from the database; on the monotonic clock
    asked_at: float = 0.0
    settlement_count: int = 0  # of requests since


class MemoryStore:
    """Windows and spent money in memory; the money is read from the database when first needed."""

    is_shared = False
    generation = 0

    def __init__(self, load_spent: LoadSpent) -> None:
        self._load_spent = load_spent
        self._windows: dict[Counter, SlotWindow] = {}
        self._spent: dict[Counter, SpentMoney] = {}
        self._swept_at = time.monotonic()

    async def exchange(self, requests: list[LeaseRequest]) -> list[Lease]:
        self._sweep_now_and_then()
        for request in requests:
            if request.counter.is_budget:
                await self._read_spent(request)
        return [self._lease(request) for request in requests]

    def _lease(self, request: LeaseRequest) -> Lease:
        if request.counter.is_windowed:
            return self._lease_window(request)
        spent = 0
        if request.counter.is_budget:
            spent = self._spent[request.counter].micro_usd
        free = request.limit - spent - request.held
        granted = find_slice(request.needed, free)
        return Lease(granted, free - granted, spent=spent)

    def _lease_window(self, request: LeaseRequest) -> Lease:
        now_slot = int(time.monotonic() * SLOTS_PER_SECOND)
        window = self._windows.get(request.counter)
        if window is None:
            window = self._windows[request.counter] = SlotWindow()
        for slot, amount in request.returned:
            window.take_away(slot, amount)
        window.forget_old_slots(now_slot)
        window.add_amount(now_slot, request.overused)
        free = request.limit - window.total
        granted = find_slice(request.needed, free)
        window.add_amount(now_slot, granted)
        return Lease(
            granted,
            free - granted,
            slot=now_slot,
            seconds_until_free=window.count_seconds(now_slot, request.needed - free),
            seconds_until_full=window.count_seconds(now_slot, window.total),
        )

    async def _read_spent(self, request: LeaseRequest) -> None:
        """Read the spent money when it is not known, and anew now and then while nothing is held.

        The sum that is read is not used when requests were settled meanwhile: nobody knows whether
        it has them. Raises StoreUnavailable.
        """
        counter = request.counter
        spent = self._spent.get(counter)
        if spent is None:
            spent = self._spent[counter] = SpentMoney()
        now = spent.asked_at = time.monotonic()
        is_known = spent.read_at > float("-inf")
        is_stale = spent.read_at < now - RELOAD_SECONDS
        if is_known and not (is_stale and (request.held == 0 or counter.rolling_seconds)):
            return
        settlement_count = spent.settlement_count
        try:
            micro_usd = await self._load_spent(counter)
        except GatewayError as error:
            raise StoreUnavailable(error.message) from error
        if not is_known or spent.settlement_count == settlement_count:
            spent.micro_usd = micro_usd
            spent.read_at = now

    def record_spent(self, counter: Counter, micro_usd: int) -> None:
        spent = self._spent.get(counter)
        if spent is not None:
            spent.micro_usd += micro_usd
            spent.settlement_count += 1

    def _sweep_now_and_then(self) -> None:
        """Forget the windows that are empty and the money that nobody asks for."""
        now = time.monotonic()
        if now < self._swept_at + SWEEP_SECONDS:
            return
        self._swept_at = now
        now_slot = int(now * SLOTS_PER_SECOND)
        for counter, window in list(self._windows.items()):
            window.forget_old_slots(now_slot)
            if window.is_empty:
                del self._windows[counter]
        unasked = 2 * settings.LIMIT_LEASE_SECONDS  # what is held is told more often
        self._spent = {
            counter: spent
            for counter, spent in self._spent.items()
            if spent.asked_at > now - unasked
        }

    async def close(self) -> None:
        """Do nothing: what was held ends with the process."""
