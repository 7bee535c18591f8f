"""A token as the pool keeps it in memory."""

from dataclasses import dataclass, field
from uuid import UUID

FOREVER = float("inf")
STANDINGS = ("ready", "limited", "exhausted", "failing", "disabled", "expired")


@dataclass(slots=True, eq=False)
class Entry:
    """One token in memory. Times are seconds of the monotonic clock.

    A renewable token stays in its ring when it expires (`expires` is FOREVER). From `stale` on it
    is renewed before it is used.
    """

    id: UUID
    provider_id: int
    sealed: str = field(repr=False)
    state: str = "active"
    strikes: int = 0
    rests_until: float = 0.0
    expires: float = FOREVER
    expiry_watched: float = FOREVER  # the value of `expires` that its ring knows
    renewable: bool = False
    stale: float = FOREVER
    priority: int = 0
    weight: int = 1
    uses: int = 0
    rests: int = 0  # cooldowns in a row for which the upstream named no time
    failures: int = 0  # provider failures with this token since it last answered
    answered_at: float = 0.0
    is_noted: bool = False  # its failing state is in the database, or queued for it
    on_trial: bool = False  # its cooldown is just over: one call finds out whether it works
    held_until: float = 0.0  # no other call before this time: its trial call is running
    standing: str = ""  # one of STANDINGS
    reason: str = ""
    place: int = 0
    changed: int = -1  # version of its row
    unwritten: int = 0  # number of its state changes that are not in the database yet
    rejected: str | None = field(default=None, repr=False)  # `sealed` at its last rejection
    secret: str | None = field(default=None, repr=False)

    @property
    def enabled(self) -> bool:
        return self.state != "disabled"


def find_standing(entry: Entry, now: float) -> str:
    """Return which of STANDINGS a token has at `now`."""
    if not entry.enabled:
        return "disabled"
    if entry.expires <= max(now, entry.rests_until):
        return "expired"
    if entry.rests_until <= now:
        return "ready"
    return entry.state if entry.state in ("exhausted", "failing") else "limited"
