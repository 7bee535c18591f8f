"""A token as the path sees it."""

from dataclasses import dataclass, field
from uuid import UUID

FOREVER = float("inf")
STANDINGS = ("ready", "limited", "exhausted", "failing", "disabled", "expired")


@dataclass(slots=True, eq=False)
class Entry:
    """One token as the path sees it. Times are seconds of the monotonic clock.

    A renewable token stays in its ring when it expires (`expires` is FOREVER): from `stale` on it
    is renewed before it is used.
    """

    id: UUID
    provider_id: int
    sealed: str = field(repr=False)
    state: str = "active"
    strikes: int = 0
    rests_until: float = 0.0
    expires: float = FOREVER
    expiry_watched: float = FOREVER  # the end of which its ring knows
    renewable: bool = False
    stale: float = FOREVER
    priority: int = 0
    weight: int = 1
    uses: int = 0
    rests: int = 0  # rests in a row for which the upstream named no time
    failures: int = 0  # failures of the provider with this token since the token last answered
    answered_at: float = 0.0
    is_noted: bool = False  # that it is failing stands in the database, or is on its way there
    on_trial: bool = False  # it has just woken: one call finds out whether it works
    held_until: float = 0.0  # the call of its trial is running
    standing: str = ""  # one of STANDINGS
    reason: str = ""
    place: int = 0
    changed: int = -1  # the row's version
    unwritten: int = 0  # changes of its state that are not in the database yet
    rejected: str | None = field(default=None, repr=False)  # `sealed` when it was rejected last
    secret: str | None = field(default=None, repr=False)

    @property
    def enabled(self) -> bool:
        return self.state != "disabled"


def find_standing(entry: Entry, now: float) -> str:
    """Return which of STANDINGS a token has."""
    if not entry.enabled:
        return "disabled"
    if entry.expires <= max(now, entry.rests_until):
        return "expired"
    if entry.rests_until <= now:
        return "ready"
    return entry.state if entry.state in ("exhausted", "failing") else "limited"
