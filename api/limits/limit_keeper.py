"""The limits of this process: requests reserve what they may use, and settle what they used.

A request reserves all that its caller's limits ask for, or nothing. While each limit has room in
this process, that takes no statement and no waiting. Otherwise the store is asked, once for all
requests that wait at that moment. A request is refused at once when a rate is used up or money is
spent. When money is only reserved by other requests, it waits for their end, LIMIT_WAIT_SECONDS at
most. Of each budget one request in a process may begin with less than it may cost, so that the rest
of a budget can be spent: that is how far a budget can be overspent.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from api.limits import limit_errors
from api.limits.allowance import Allowance
from api.limits.caller_limits import Rule
from api.limits.limit_errors import Refusal
from api.limits.request_demands import AnswerLengths
from api.limits.reservation import Part, Reservation
from api.limits.stores.limit_store import Counter, LimitStore, StoreUnavailable
from providers.exceptions import DatabaseUnavailable, GatewayError
from providers.fast_settings import settings

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
RENEWALS_PER_LEASE = 3
OTHERS_RETURN_SECONDS = 1.5 * TICK_SECONDS  # until then other processes gave back what lies idle

WatchBudget = Callable[[Rule, int, int], None]  # a budget, and micro-USD: spent, limit
RecentAllowance = tuple[Allowance, float, float]  # and the UNIX times between which it holds
Demand = tuple[Rule, int]  # a limit, and how much of it a request needs


def ignore_budget(rule: Rule, spent: int, limit: int) -> None:
    """Do nothing about a budget."""


class LimitKeeper:
    """The allowances of this process, by counter, and their exchanges with the store."""

    def __init__(self, store: LimitStore, watch_budget: WatchBudget = ignore_budget) -> None:
        """Keep the limits of a store.

        `watch_budget` is called with what is spent of a budget whenever the store has said it.
        """
        self.store = store
        self._watch_budget = watch_budget
        self._generation = store.generation
        self._allowances: dict[Counter, Allowance] = {}
        self._recent: dict[Rule, RecentAllowance] = {}  # found since the latest tick
        self._changed: set[Allowance] = set()  # have something to ask or to tell
        self._next_exchange: asyncio.Task[None] | None = None
        self._exchange_tasks: set[asyncio.Task[None]] = set()
        self._exchange_lock = asyncio.Lock()
        self._answer_lengths: dict[str, AnswerLengths] = {}  # by the public id of the model

    def find_allowance(self, rule: Rule, now: float) -> Allowance:
        """Return this process's part of a limit, in the period that a UNIX time is in."""
        recent = self._recent.get(rule)
        if recent is not None and recent[1] <= now < recent[2]:
            return recent[0]
        counter = make_counter(rule, now)
        limit = rule.current_amount(now)
        allowance = self._allowances.get(counter)
        if allowance is None:
            allowance = self._allowances[counter] = Allowance(counter, rule, limit)
        elif allowance.limit != limit:
            allowance.change_limit(rule, limit)
            self._recent.clear()  # another rule may have been found with the limit of before
        self._recent[rule] = (allowance, *find_unchanged_times(rule, now))
        return allowance

    def read_allowance(self, rule: Rule, now: float) -> Allowance:
        """Return this process's part of a limit, or a whole one that is not kept.

        It changes nothing, so that any thread may call it.
        """
        recent = self._recent.get(rule)
        if recent is not None and recent[1] <= now < recent[2]:
            return recent[0]
        counter = make_counter(rule, now)
        return self._allowances.get(counter) or Allowance(counter, rule, rule.current_amount(now))

    def find_answer_lengths(self, public_id: str) -> AnswerLengths:
        """Return the lengths of a model's latest answers."""
        lengths = self._answer_lengths.get(public_id)
        if lengths is None:
            lengths = self._answer_lengths[public_id] = AnswerLengths()
        return lengths

    async def reserve(
        self, demands: Sequence[Demand], lengths: AnswerLengths | None = None
    ) -> Reservation:
        """Reserve what a request needs of each limit.

        The answer is added to `lengths` when it has ended. Raises LimitRefused, and
        DatabaseUnavailable when nobody knows what is left.
        """
        now = time.time()
        parts = []
        has_room = True
        for rule, amount in demands:
            allowance = self.find_allowance(rule, now)
            if amount > allowance.limit:
                amount = allowance.limit or 1
            parts.append(Part(rule, allowance, amount))
            if allowance.free < amount or allowance.waiters:  # those who wait come first
                has_room = False
        if not has_room:
            await self._wait_for_room(parts)
        self._take(parts)
        return Reservation(self.store, parts, lengths)

    def _take(self, parts: Sequence[Part]) -> None:
        """Take all parts, which have room; nothing else runs in between."""
        used_at = time.monotonic()
        for part in parts:
            allowance = part.allowance
            if part.amount > allowance.free:
                allowance.has_overdraft = part.is_overdraft = True
                part.amount = allowance.free
            part.slot = allowance.slot
            allowance.used_at = used_at
            allowance.free -= part.amount
            allowance.running_count += 1
            if not allowance.is_windowed:
                allowance.reserved += part.amount
            if allowance.free and allowance.waiters:
                allowance.wake_next_waiter()

    async def _wait_for_room(self, parts: Sequence[Part]) -> None:
        """Return when all parts can be taken. Raises LimitRefused, DatabaseUnavailable."""
        started_at = time.monotonic()
        for part in parts:
            if part.allowance.waiters:  # those who came before have their turn first
                await wait_for_change(part.allowance, settings.LIMIT_WAIT_SECONDS)
        while True:
            lacking = [part for part in parts if part.allowance.free < part.amount]
            for part in lacking:
                refuse_known(part)
            if lacking:
                await self._exchange(lacking)
            if all(can_begin(part) for part in parts):
                return
            # a part that was not asked for may have gone meanwhile: it is asked for next
            refused = [part for part in lacking if not can_begin(part)]
            if refused:
                await self._wait_or_refuse(refused[0], time.monotonic() - started_at)

    async def _wait_or_refuse(self, part: Part, waited_seconds: float) -> None:
        """Wait until a part may have room. Raises LimitRefused when waiting does not help."""
        allowance = part.allowance
        if allowance.is_budget:
            require_money(part)
            if waited_seconds >= settings.LIMIT_WAIT_SECONDS:
                allowance.wake_next_waiter()
                raise LimitRefused(limit_errors.refuse_reserved(part.rule, allowance.limit))
            await wait_for_change(allowance, settings.LIMIT_WAIT_SECONDS - waited_seconds)
        elif allowance.lease is not None and allowance.lease.remaining >= part.amount:
            return  # a request that came meanwhile took what was leased; there is more to ask for
        elif self.store.is_shared and waited_seconds < OTHERS_RETURN_SECONDS:
            await asyncio.sleep(OTHERS_RETURN_SECONDS)
        else:
            raise_rate_refusal(part)

    async def look_up(self, rules: Sequence[Rule]) -> list[Allowance]:
        """Return this process's parts of limits, after the store was asked what is left.

        Raises DatabaseUnavailable.
        """
        now = time.time()
        allowances = [self.find_allowance(rule, now) for rule in rules]
        self._changed.update(allowances)
        if allowances:
            await self._exchange(())
        return allowances

    # --- exchanges --------------------------------------------------------------------------------
    async def _exchange(self, lacking: Sequence[Part]) -> None:
        """Ask the store for what is lacking, together with all who ask at this moment."""
        for part in lacking:
            part.allowance.needed += part.amount
            part.allowance.asking += 1
            self._changed.add(part.allowance)
        if self._next_exchange is None:
            task = self._next_exchange = asyncio.create_task(self._run_next_exchange())
            self._exchange_tasks.add(task)
            task.add_done_callback(self._exchange_tasks.discard)
        try:
            await asyncio.shield(self._next_exchange)
        except StoreUnavailable as error:
            raise DatabaseUnavailable(
                "The limits of the API key cannot be checked now. Nothing was sent on.",
                retry_after_seconds=2,
            ) from error
        finally:
            for part in lacking:
                part.allowance.asking -= 1

    async def _run_next_exchange(self) -> None:
        """Make the exchange that requests wait for; later ones wait for another."""
        async with self._exchange_lock:
            self._next_exchange = None
            await self._exchange_changed()

    async def exchange_now(self) -> None:
        """Tell the store what changed, and lease what is needed.

        Raises StoreUnavailable.
        """
        async with self._exchange_lock:
            await self._exchange_changed()

    async def _exchange_changed(self) -> None:
        """Exchange all that changed; one exchange at a time. Raises StoreUnavailable."""
        changed = list(self._changed)
        self._changed.clear()
        if not changed:
            return
        requests = [allowance.start_exchange() for allowance in changed]
        try:
            leases = await self.store.exchange(requests)
        except BaseException:  # also when cancelled: what was not told is told next time
            for allowance, request in zip(changed, requests, strict=True):
                allowance.fail_exchange(request)
            raise
        for allowance, request, lease in zip(changed, requests, leases, strict=True):
            allowance.finish_exchange(request.held, lease)
            if allowance.is_budget:
                self._watch_budget(allowance.rule, lease.spent, allowance.limit)

    # --- housekeeping -----------------------------------------------------------------------------
    async def maintain_until_cancelled(self) -> None:
        """Give back what lies idle and renew leases, every TICK_SECONDS, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.collect_changes()
            with suppress(StoreUnavailable):
                await self.exchange_now()
            for allowance in self._allowances.values():
                allowance.wake_next_waiter()

    def collect_changes(self) -> None:
        """Find the allowances of which the store is to be told, and forget those out of use."""
        self._recent.clear()
        if self._generation != self.store.generation:
            self._generation = self.store.generation
            for allowance in self._allowances.values():
                allowance.forget_known()
        now = time.monotonic()
        renewed_before = now - settings.LIMIT_LEASE_SECONDS / RENEWALS_PER_LEASE
        forgotten_before = now - settings.LIMIT_LEASE_SECONDS
        for counter, allowance in list(self._allowances.items()):
            is_idle = allowance.used_at < now - TICK_SECONDS and not allowance.asking
            if is_idle and allowance.free:
                allowance.drop_idle()
                self._changed.add(allowance)
            elif allowance.has_news or (allowance.held and allowance.leased_at < renewed_before):
                self._changed.add(allowance)
            elif allowance.is_empty and allowance.used_at < forgotten_before:
                del self._allowances[counter]

    async def stop(self) -> None:
        """Give back what no running request holds, and close the store."""
        for allowance in self._allowances.values():
            allowance.drop_idle()
            self._changed.add(allowance)
        with suppress(StoreUnavailable):
            await self.exchange_now()
        await self.store.close()


class LimitRefused(Exception):
    """A limit refuses a request; `refusal` says which one, and has the error for the caller."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.error.message)
        self.refusal = refusal

    @property
    def named_error(self) -> tuple[str, GatewayError]:
        """Return the name of the limit, and the error for the caller."""
        return self.refusal.limit_name, self.refusal.error


def make_counter(rule: Rule, now: float) -> Counter:
    """Return the counter of a rule, in the period that a UNIX time is in."""
    subject = rule.subject
    if rule.period is None:
        return Counter(subject.kind, subject.id, rule.resource)
    start = rule.period.find_bounds(now)[0]
    return Counter(subject.kind, subject.id, rule.resource, start, rule.period.rolling_seconds)


def find_unchanged_times(rule: Rule, now: float) -> tuple[float, float]:
    """Return UNIX times around `now` between which a rule keeps its counter and its amount."""
    start, end = (0.0, float("inf")) if rule.period is None else rule.period.find_bounds(now)
    if now < rule.raise_until:
        return start, min(end, rule.raise_until)
    return max(start, rule.raise_until), end


def can_begin(part: Part) -> bool:
    """Return whether a part can be taken after the store was asked.

    One request at a time may begin with the rest of a budget, though it may cost more.
    """
    allowance = part.allowance
    if allowance.free >= part.amount:
        return True
    return allowance.is_budget and not allowance.has_overdraft and allowance.free > 0


def require_money(part: Part) -> None:
    """Raise LimitRefused when the money of a budget is spent, not only reserved."""
    allowance = part.allowance
    lease = allowance.lease
    if lease is not None and lease.spent >= allowance.limit:
        allowance.wake_next_waiter()
        refusal = limit_errors.refuse_spent(part.rule, allowance.limit, time.time())
        raise LimitRefused(refusal)


def refuse_known(part: Part) -> None:
    """Raise LimitRefused when the store has just said that there is no room."""
    allowance = part.allowance
    now = time.monotonic()
    if allowance.is_budget:
        if now < allowance.leased_at + TICK_SECONDS and allowance.free <= 0:
            require_money(part)
    elif now < allowance.refused_until:
        raise_rate_refusal(part)


def raise_rate_refusal(part: Part) -> None:
    """Raise LimitRefused, and remember for a moment that there is no room."""
    allowance = part.allowance
    lease = allowance.lease
    now = time.monotonic()
    seconds = 0.0
    if lease is not None and allowance.is_windowed:
        seconds = max(0.0, lease.seconds_until_free - (now - allowance.leased_at))
        if now >= allowance.refused_until:
            allowance.refused_until = now + min(seconds, TICK_SECONDS)
    raise LimitRefused(limit_errors.refuse_rate(part.rule, seconds))


async def wait_for_change(allowance: Allowance, most_seconds: float) -> None:
    """Wait for one's turn: until money is given back, for a tick, or for so many seconds."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    allowance.waiters.append(waiter)
    timer = loop.call_later(most_seconds, end_waiting, waiter)
    try:
        await waiter
    except asyncio.CancelledError:
        if waiter.done() and not waiter.cancelled():
            allowance.wake_next_waiter()  # the turn goes to the next one
        raise
    finally:
        timer.cancel()


def end_waiting(waiter: "asyncio.Future[None]") -> None:
    """End a wait whose time is over."""
    if not waiter.done():
        waiter.set_result(None)
