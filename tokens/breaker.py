"""A provider's circuit breaker: when the provider itself fails, its tokens are left alone and it is asked less.

closed --N consecutive failures--> open --after a pause--> half-open, one probe --answer--> closed
                                                                         --failure--> open, twice the pause
Times are seconds of the monotonic clock; the state is this process's own.
"""

from dataclasses import dataclass

LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class Breaker:
    limit: int
    pause_seconds: float
    failures: int = 0
    open_until: float = 0.0
    probing: bool = False
    openings: int = 0  # in a row

    def blocked_for(self, now: float) -> float | None:
        """Seconds until the provider may be asked again, or None when it may be asked now."""
        if not self.open_until:
            return None
        if now < self.open_until:
            return self.open_until - now
        return 1.0 if self.probing else None

    def begin(self) -> None:
        """A call is about to be made: in the half-open state it is the probe."""
        if self.open_until:
            self.probing = True

    def answered(self) -> None:
        """The provider answered, whatever it said."""
        if self.failures or self.open_until:
            self.failures, self.open_until, self.probing, self.openings = 0, 0.0, False, 0

    def failed(self, now: float) -> None:
        self.failures += 1
        if self.probing or (self.failures >= self.limit and now >= self.open_until):
            pause = min(self.pause_seconds * 2 ** min(self.openings, 16), LONGEST_PAUSE_SECONDS)
            self.open_until, self.probing = now + pause, False
            self.openings += 1

    def undecided(self) -> None:
        """The call ended without telling anything about the provider, for example because the caller left."""
        self.probing = False
