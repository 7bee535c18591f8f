"""The tokens of one provider, ready or resting: picking one costs O(log n), however many there are or rest.

Ready tokens stand in a heap ordered by the provider's rotation, resting ones in a heap ordered by when they wake. A
token has one valid place; places left behind by a change carry an old `place` number and are dropped when they
surface.
"""

import heapq
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

FOREVER = float("inf")


@dataclass(slots=True, eq=False)
class Entry:
    """One token as the path sees it. Times are seconds of the monotonic clock.

    A renewable token stays in its ring when it expires (`expires` is FOREVER): from `stale` on it is renewed before it
    is used.
    """

    id: UUID
    provider_id: int
    sealed: str = field(repr=False)
    state: str = "active"
    strikes: int = 0
    rests_until: float = 0.0
    expires: float = FOREVER
    renewable: bool = False
    stale: float = FOREVER
    priority: int = 0
    weight: int = 1
    uses: int = 0
    rests: int = 0  # rests in a row for which the upstream named no time
    reason: str = ""
    place: int = 0
    changed: int = -1  # the row's version
    unwritten: int = 0  # changes of its state that are not in the database yet
    rejected: str | None = field(default=None, repr=False)  # what `sealed` was when the upstream rejected it last
    secret: str | None = field(default=None, repr=False)

    @property
    def enabled(self) -> bool:
        return self.state != "disabled"


class Ring:
    """`rotation` is one of providers.models.Rotation."""

    def __init__(self, rotation: str) -> None:
        self.rotation = rotation
        self.entries: dict[UUID, Entry] = {}
        self._ready: list[tuple[float, float, int, int, Entry]] = []
        self._resting: list[tuple[float, int, int, Entry]] = []
        self._turn = count(1)
        self._next_key: Callable[[Entry, float], tuple[float, float]] = getattr(self, f"_{rotation}")

    # --- rotations: the key under which a token waits for its next turn; `now` is the key it was picked under -----
    def _round_robin(self, entry: Entry, now: float) -> tuple[float, float]:
        return next(self._turn), 0

    def _least_used(self, entry: Entry, now: float) -> tuple[float, float]:
        return entry.uses, 0

    def _priority(self, entry: Entry, now: float) -> tuple[float, float]:
        return entry.priority, next(self._turn)

    def _random(self, entry: Entry, now: float) -> tuple[float, float]:
        """Each token rings like an independent Poisson clock of rate `weight`: the next one to ring is a weighted
        fair draw.
        """
        return now + random.expovariate(entry.weight), 0

    # --- places ---------------------------------------------------------------------------------------------------
    def put(self, entry: Entry, now: float) -> None:
        """Take in a new or changed token: it leaves its old place and gets the one its state deserves."""
        self.entries[entry.id] = entry
        entry.place += 1
        if not entry.enabled or entry.expires <= max(now, entry.rests_until):
            return
        if entry.rests_until > now:
            heapq.heappush(self._resting, (entry.rests_until, id(entry), entry.place, entry))
            return
        base = self._ready[0][0] if self._ready else 0.0
        if self.rotation == "least_used":
            entry.uses = max(entry.uses, int(base))  # a newcomer does not take all the traffic until it has caught up
        heapq.heappush(self._ready, (*self._next_key(entry, base), id(entry), entry.place, entry))

    def remove(self, token_id: UUID) -> None:
        entry = self.entries.pop(token_id, None)
        if entry is not None:
            entry.place += 1

    def pick(self, now: float, tried: Collection[UUID] = ()) -> Entry | None:
        """The next ready token that is not among `tried`, or None. It goes to the end of its rotation."""
        resting, ready = self._resting, self._ready
        while resting and resting[0][0] <= now:
            _, _, place, entry = heapq.heappop(resting)
            if place == entry.place:
                self.put(entry, now)
        passed = []
        picked = None
        while ready:
            key, _, _, place, entry = ready[0]
            if place != entry.place or entry.expires <= now:
                heapq.heappop(ready)
            elif entry.id in tried:
                passed.append(heapq.heappop(ready))
            else:
                entry.uses += 1
                heapq.heapreplace(ready, (*self._next_key(entry, key), id(entry), place, entry))
                picked = entry
                break
        for item in passed:
            heapq.heappush(ready, item)
        return picked

    def take(self, token_id: UUID, now: float, tried: Collection[UUID] = ()) -> Entry | None:
        """This very token if it is ready and not among `tried`; the others keep their turns."""
        entry = self.entries.get(token_id)
        if entry is None or not entry.enabled or entry.rests_until > now or entry.expires <= now or token_id in tried:
            return None
        entry.uses += 1
        return entry

    def wakes_in(self, now: float) -> float | None:
        """Seconds until the first resting token wakes; None when none rests."""
        resting = self._resting
        while resting and resting[0][2] != resting[0][3].place:
            heapq.heappop(resting)
        return max(0.0, resting[0][0] - now) if resting else None
