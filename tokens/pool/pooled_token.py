"""A token as the pool keeps it in memory."""

from dataclasses import dataclass, field
from uuid import UUID

FOREVER = float("inf")
POOL_STATES = ("ready", "limited", "exhausted", "failing", "disabled", "expired")


@dataclass(slots=True, eq=False)
class PooledToken:
    """One token in memory. Times are seconds of the monotonic clock.

    A renewable token stays in its ring when it expires (`valid_until` is FOREVER). From
    `fresh_until` on it is renewed before it is used.
    """

    id: UUID
    provider_id: int
    sealed: str = field(repr=False)
    state: str = "active"
    strikes: int = 0
    rests_until: float = 0.0
    valid_until: float = FOREVER
    ring_valid_until: float = FOREVER  # the value of `valid_until` that its ring knows
    is_renewable: bool = False
    fresh_until: float = FOREVER
    priority: int = 0
    weight: int = 1
    use_count: int = 0
    cooldowns_in_row: int = 0  # cooldowns in a row for which the upstream named no time
    failures_in_row: int = 0  # provider failures with this token since it last answered
    answered_at: float = 0.0
    is_failing_queued: bool = False  # its failing state is in the database, or queued for it
    is_on_trial: bool = False  # its cooldown is just over: one call finds out whether it works
    held_until: float = 0.0  # no other call before this time: its trial call is running
    pool_state: str = ""  # one of POOL_STATES, or empty while it is in no ring
    reason: str = ""
    place_number: int = 0
    row_version: int = -1  # version of its row
    unwritten_changes: int = 0  # number of its state changes that are not in the database yet
    rejected_secret: str | None = field(default=None, repr=False)  # `sealed` at its last rejection
    secret: str | None = field(default=None, repr=False)

    @property
    def is_enabled(self) -> bool:
        return self.state != "disabled"

    def replace_sealed(self, sealed: str) -> None:
        """Use this secret; the opened one is forgotten if it is another."""
        if self.sealed != sealed:
            self.sealed = sealed
            self.secret = None


def find_pool_state(entry: PooledToken, now: float) -> str:
    """Return which of POOL_STATES a token has at `now`."""
    if not entry.is_enabled:
        return "disabled"
    if entry.valid_until <= max(now, entry.rests_until):
        return "expired"
    if entry.rests_until <= now:
        return "ready"
    if entry.state in ("exhausted", "failing"):
        return entry.state
    return "limited"
