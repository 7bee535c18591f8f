"""The tokens of one provider in the order of their turns; picking one costs O(log n).

Ready tokens are in a heap in the order of the provider's rotation. Limited, exhausted and failing
tokens are in a heap ordered by the end of their cooldown. A token has one valid place. Heap items
left behind by a change carry an old `place_number` and are dropped when they reach the top.
"""

import heapq
import random
from collections.abc import Callable, Collection, Iterator
from itertools import count, islice
from uuid import UUID

from tokens.pool.pooled_token import FOREVER, POOL_STATES, PooledToken, find_pool_state

TRIAL_SECONDS = 1.0  # a token on trial has one call at a time, until it answers or this is over
SCAN_LIMIT = 1_000  # most tokens looked through where no heap has the wanted order

# Items of the heaps; the id of the Python object keeps two tokens from being compared.
ReadyItem = tuple[float, float, int, int, PooledToken]  # key, second key, id, place number, token
RestingItem = tuple[float, int, int, PooledToken]  # end of the cooldown, id, place number, token
ExpiringItem = tuple[float, int, PooledToken]  # end of the validity, id, token


class TokenRing:
    """The tokens of one provider; `rotation` is one of `providers.choices.Rotation`."""

    def __init__(self, rotation: str) -> None:
        self.rotation = rotation
        self.entries: dict[UUID, PooledToken] = {}
        self.failing_entries: dict[UUID, PooledToken] = {}
        self._state_counts = dict.fromkeys(POOL_STATES, 0)
        self._ready: list[ReadyItem] = []
        self._resting: list[RestingItem] = []
        self._expiring: list[ExpiringItem] = []
        self._model_limits: dict[str, dict[UUID, float]] = {}
        self._turn_numbers = count(1)
        self._next_key: Callable[[PooledToken, float], tuple[float, float]]
        self._next_key = getattr(self, f"_{rotation}")

    # --- rotations: the heap key of a token's next turn -------------------------------------------
    # `picked_key` is the key that it had when it was picked.
    def _round_robin(self, entry: PooledToken, picked_key: float) -> tuple[float, float]:
        return next(self._turn_numbers), 0

    def _least_used(self, entry: PooledToken, picked_key: float) -> tuple[float, float]:
        return entry.use_count, 0

    def _priority(self, entry: PooledToken, picked_key: float) -> tuple[float, float]:
        return entry.priority, next(self._turn_numbers)

    def _random(self, entry: PooledToken, picked_key: float) -> tuple[float, float]:
        """Draw the pause until the token's next turn, on average 1 / weight.

        Pauses are drawn evenly from 0 to twice the average. Independent draws of a token for each
        request would share as fairly in the end, but stray further from the weights on the way.
        """
        pause = random.random() * 2 / entry.weight  # noqa: S311 - no secret depends on it
        return picked_key + pause, 0

    # --- places -----------------------------------------------------------------------------------
    def place_entry(self, entry: PooledToken, now: float) -> None:
        """Add a new token, or move a changed one to the place that fits its state."""
        self.entries[entry.id] = entry
        entry.place_number += 1
        self._set_pool_state(entry, find_pool_state(entry, now))
        if entry.valid_until != entry.ring_valid_until:
            entry.ring_valid_until = entry.valid_until
            if entry.valid_until < FOREVER:
                heapq.heappush(self._expiring, (entry.valid_until, id(entry), entry))
        if entry.pool_state in ("limited", "exhausted", "failing"):
            heapq.heappush(self._resting, (entry.rests_until, id(entry), entry.place_number, entry))
        elif entry.pool_state == "ready":
            lowest_key = 0.0
            if self._ready:
                lowest_key = self._ready[0][0]
            if self.rotation == "least_used":  # else a new token would get all requests at first
                entry.use_count = max(entry.use_count, int(lowest_key))
            keys = self._next_key(entry, lowest_key)
            heapq.heappush(self._ready, (*keys, id(entry), entry.place_number, entry))

    def remove_entry(self, token_id: UUID) -> None:
        entry = self.entries.pop(token_id, None)
        if entry is not None:
            entry.place_number += 1
            self._set_pool_state(entry, "")

    def _set_pool_state(self, entry: PooledToken, pool_state: str) -> None:
        if entry.pool_state:
            self._state_counts[entry.pool_state] -= 1
        entry.pool_state = pool_state
        if pool_state:
            self._state_counts[pool_state] += 1
        if pool_state == "failing":
            self.failing_entries[entry.id] = entry
        elif self.failing_entries:
            self.failing_entries.pop(entry.id, None)

    def shuffle_turns(self) -> None:
        """Start the rotation at a random token, so that processes begin with different tokens."""
        if self.rotation != "round_robin" or len(self._ready) < 2:
            return
        ready = sorted(self._ready)
        start = random.randrange(len(ready))  # noqa: S311
        self._ready = [
            (next(self._turn_numbers), 0, object_id, place_number, entry)
            for _, _, object_id, place_number, entry in (*ready[start:], *ready[:start])
        ]

    # --- time -------------------------------------------------------------------------------------
    def _wake_entries(self, now: float) -> None:
        """Move the tokens whose cooldown or validity has ended to the place that fits them now."""
        resting = self._resting
        expiring = self._expiring
        while resting and resting[0][0] <= now:
            _, _, place_number, entry = heapq.heappop(resting)
            if place_number == entry.place_number:
                self.place_entry(entry, now)
                entry.is_on_trial = entry.pool_state == "ready"
        while expiring and expiring[0][0] <= now:
            _, _, entry = heapq.heappop(expiring)
            if entry.valid_until <= now and self.entries.get(entry.id) is entry:
                self.place_entry(entry, now)

    def count_by_state(self, now: float) -> dict[str, int]:
        """Return how many tokens have each of POOL_STATES at this moment."""
        self._wake_entries(now)
        return dict(self._state_counts)

    # --- picking ----------------------------------------------------------------------------------
    def pick_token(
        self,
        now: float,
        tried_ids: Collection[UUID] = (),
        model: str = "",
        *,
        wants_proven: bool = False,
    ) -> PooledToken | None:
        """Pick the next ready token that is not in `tried_ids` and not limited for `model`.

        The token goes to the end of its rotation. `wants_proven` leaves out tokens on trial and
        tokens with strikes. Returns None when there is no such token.
        """
        if (self._resting and self._resting[0][0] <= now) or (
            self._expiring and self._expiring[0][0] <= now
        ):
            self._wake_entries(now)
        ready = self._ready
        limits = self._model_limits.get(model)
        skipped: list[ReadyItem] = []
        picked = None
        while ready and len(skipped) < SCAN_LIMIT:
            key, _, _, place_number, entry = ready[0]
            if place_number != entry.place_number:
                heapq.heappop(ready)
            elif (
                entry.held_until > now
                or entry.id in tried_ids
                or (wants_proven and (entry.is_on_trial or entry.strikes))
                or self._is_limited(entry, limits, now)
            ):
                skipped.append(heapq.heappop(ready))
            else:
                picked = entry
                self._move_to_end(entry, key)
                break
        for item in skipped:
            heapq.heappush(ready, item)
        if picked is not None:
            self._begin_trial(picked, now)
        return picked

    def _move_to_end(self, entry: PooledToken, key: float) -> None:
        """Count a use of the first ready token, and move it to the end of its rotation."""
        entry.use_count += 1
        keys = self._next_key(entry, key)
        heapq.heapreplace(self._ready, (*keys, id(entry), entry.place_number, entry))

    def pick_by_id(
        self, token_id: UUID, now: float, tried_ids: Collection[UUID] = (), model: str = ""
    ) -> PooledToken | None:
        """Pick this token if it is ready and not in `tried_ids`; the others keep their turns."""
        self._wake_entries(now)
        entry = self.entries.get(token_id)
        if entry is None or entry.pool_state != "ready" or token_id in tried_ids:
            return None
        limits = self._model_limits.get(model)
        if entry.held_until > now or self._is_limited(entry, limits, now):
            return None
        entry.use_count += 1
        if self.rotation == "least_used":
            self.place_entry(entry, now)
        self._begin_trial(entry, now)
        return entry

    def pick_failing_token(
        self, now: float, tried_ids: Collection[UUID] = ()
    ) -> PooledToken | None:
        """Pick the failing token whose time is over first, for a request that has no better one.

        A token is marked as failing by our own judgement, which may be wrong. So the mark alone
        must not make a request fail.
        """
        candidates = (
            entry
            for entry in islice(self.failing_entries.values(), SCAN_LIMIT)
            if entry.held_until <= now and entry.id not in tried_ids
        )
        picked = min(candidates, key=lambda entry: entry.rests_until, default=None)
        if picked is not None:
            picked.use_count += 1
            picked.is_on_trial = True
            self._begin_trial(picked, now)
        return picked

    @staticmethod
    def _begin_trial(entry: PooledToken, now: float) -> None:
        """Keep other calls away from a token until it is known whether it works."""
        if entry.is_on_trial or entry.strikes:
            entry.held_until = now + TRIAL_SECONDS

    def find_trial_seconds(self, now: float, tried_ids: Collection[UUID] = ()) -> float | None:
        """Return the seconds until the next trial of a ready token is over, None without trials."""
        trial_seconds = (
            entry.held_until - now
            for entry in self._scan_ready()
            if entry.held_until > now and entry.id not in tried_ids
        )
        return min(trial_seconds, default=None)

    def has_untried_token(self, now: float, tried_ids: Collection[UUID], model: str = "") -> bool:
        """Return whether a ready token is not in `tried_ids` and not limited for `model`."""
        self._wake_entries(now)
        limits = self._model_limits.get(model)
        return any(
            entry.id not in tried_ids and not self._is_limited(entry, limits, now)
            for entry in self._scan_ready()
        )

    def _scan_ready(self) -> Iterator[PooledToken]:
        """Yield ready tokens, in no order that means anything and at most SCAN_LIMIT."""
        for _, _, _, place_number, entry in islice(self._ready, SCAN_LIMIT):
            if place_number == entry.place_number:
                yield entry

    def has_other_token(self, token_id: UUID, now: float) -> bool:
        """Return whether a token other than this one is ready or held."""
        self._wake_entries(now)
        return self._state_counts["ready"] > int(self._is_ready(token_id))

    # --- limits of one model ----------------------------------------------------------------------
    def limit_model(self, entry: PooledToken, model: str, until: float) -> None:
        """Leave the token out for `model` until that time; for other models it stays ready."""
        limits = self._model_limits.setdefault(model, {})
        limits[entry.id] = max(until, limits.get(entry.id, 0.0))

    def _is_limited(self, entry: PooledToken, limits: dict[UUID, float] | None, now: float) -> bool:
        if not limits:
            return False
        until = limits.get(entry.id)
        if until is None:
            return False
        if until > now:
            return True
        del limits[entry.id]
        return False

    # --- facts for error messages -----------------------------------------------------------------
    def find_wait_seconds(self, now: float, model: str = "") -> float | None:
        """Return the seconds until the first token can be asked again; None when none waits."""
        self._wake_entries(now)
        resting = self._resting
        while resting and resting[0][2] != resting[0][3].place_number:
            heapq.heappop(resting)
        limits = self._model_limits.get(model, {})
        limit_ends = (until for token_id, until in limits.items() if self._is_ready(token_id))
        wait_ends = [until for until in islice(limit_ends, SCAN_LIMIT) if until > now]
        if resting:
            wait_ends.append(resting[0][0])
        if not wait_ends:
            return None
        return max(0.0, min(wait_ends) - now)

    def _is_ready(self, token_id: UUID) -> bool:
        entry = self.entries.get(token_id)
        return entry is not None and entry.pool_state == "ready"

    def count_limited_tokens(self, model: str, now: float) -> int:
        """Return how many ready tokens are limited for this model alone."""
        limits = self._model_limits.get(model, {})
        return sum(until > now and self._is_ready(token_id) for token_id, until in limits.items())
