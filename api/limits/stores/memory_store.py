"""The store of limits for the only process of a gateway on SQLite."""

import time
from collections.abc import Awaitable, Callable

from api.limits.stores.limit_store import (
    SLOTS_PER_SECOND,
    WINDOW_SLOTS,
    Counter,
    Lease,
    LeaseRequest,
    find_slice,
)

LoadSpent = Callable[[Counter], Awaitable[int]]
MOST_COUNTERS = 100_000
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
        """Add an amount to a slot, or take it away when it is negative; old slots stay gone."""
        if amount > 0 or slot in self._amounts:
            self._amounts[slot] = self._amounts.get(slot, 0) + amount
            self.total += amount

    def count_seconds(self, now_slot: int, amount: int) -> float:
        """Return the seconds after which so much has left the window."""
        for slot, used in self._amounts.items():
            amount -= used
            if amount <= 0:
                return (slot + WINDOW_SLOTS - now_slot) / SLOTS_PER_SECOND
        return 0.0


class MemoryStore:
    """Windows and spent money in memory; the money is read from the database when first needed."""

    is_shared = False

    def __init__(self, load_spent: LoadSpent) -> None:
        self._load_spent = load_spent
        self._windows: dict[Counter, SlotWindow] = {}
        self._spent: dict[Counter, tuple[int, float]] = {}  # micro-USD, and when it was read

    async def exchange(self, requests: list[LeaseRequest]) -> list[Lease]:
        return [await self._lease(request) for request in requests]

    async def _lease(self, request: LeaseRequest) -> Lease:
        if request.counter.is_windowed:
            return self._lease_window(request)
        spent = await self._find_spent(request) if request.counter.is_budget else 0
        free = request.limit - spent - request.held
        granted = find_slice(request.needed, free)
        return Lease(granted, free - granted, spent=spent)

    def _lease_window(self, request: LeaseRequest) -> Lease:
        now_slot = int(time.monotonic() * SLOTS_PER_SECOND)
        window = self._windows.get(request.counter)
        if window is None:
            self._make_room()
            window = self._windows[request.counter] = SlotWindow()
        for slot, amount in request.returned:
            window.add_amount(slot, -amount)
        window.forget_old_slots(now_slot)
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

    def _make_room(self) -> None:
        """Forget the windows that are empty when there are many."""
        if len(self._windows) >= MOST_COUNTERS:
            self._windows = {name: kept for name, kept in self._windows.items() if kept.total}

    async def _find_spent(self, request: LeaseRequest) -> int:
        """Return the money that is spent; read it anew now and then while nothing is held."""
        spent, read_at = self._spent.get(request.counter, (0, float("-inf")))
        age_seconds = time.monotonic() - read_at
        is_rolling = request.counter.rolling_seconds > 0
        if age_seconds > RELOAD_SECONDS and (request.held == 0 or is_rolling or spent == 0):
            spent = await self._load_spent(request.counter)
            self._spent[request.counter] = (spent, time.monotonic())
        return spent

    def record_spent(self, counter: Counter, micro_usd: int) -> None:
        spent, read_at = self._spent.get(counter, (0, float("-inf")))
        self._spent[counter] = (spent + micro_usd, read_at)

    async def close(self) -> None:
        """Do nothing: what was held ends with the process."""
