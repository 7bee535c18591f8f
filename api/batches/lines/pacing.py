"""The pace of a batch: how many of its lines run at once, and when they make room for others.

A line begins only while other requests have room: BATCH_SPARE_SHARE of the requests and tokens per
minute is left to them, and half of the requests that may run at the same time. After a refusal all
lines of the batch wait, and fewer of them run at once; each answer lets a few more run again.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from django.conf import settings

from api.limits.allowance import Allowance
from api.limits.caller_limits import CallerLimits, Resource

if TYPE_CHECKING:
    from api.relay.gateway import Gateway

LOOK_SECONDS = 0.25  # between two looks whether there is room again
LEAST_PAUSE_SECONDS = 0.25
RECOVERY_STEP = 0.25  # so many more lines run at once after an answer
CHANCE_FAILURES = 3  # failures in a row that may be those of single lines
MOST_DOUBLINGS = 6  # the longest pause after failures is 64 seconds
BUSY_SHARE = 0.5  # of REQUESTS_IN_FLIGHT: with more requests of others no line begins


class Pacer:
    """Lets the lines of one batch begin, one after the other."""

    def __init__(self, gateway: "Gateway", key_digest: str) -> None:
        self._gateway = gateway
        self.key_digest = key_digest  # of the key whose limits hold
        self._allowed = float(settings.BATCH_LINES_AT_ONCE)
        self._running_count = 0
        self._resume_at = 0.0  # on the monotonic clock
        self._failures_in_row = 0
        self.stopped = asyncio.Event()

    async def begin_line(self) -> bool:
        """Wait until a line may begin, and count it; return False when the batch has stopped."""
        while not self.stopped.is_set():
            wait_seconds = self._find_wait_seconds()
            if not wait_seconds:
                self._running_count += 1
                return True
            await self.sleep(wait_seconds)
        return False

    def end_line(self) -> None:
        """Count a line less among those that run."""
        self._running_count -= 1

    def record_answer(self) -> None:
        """Let a few more lines run at once."""
        self._failures_in_row = 0
        self._allowed = min(self._allowed + RECOVERY_STEP, settings.BATCH_LINES_AT_ONCE)

    def pause(self, seconds: float) -> None:
        """Let no line begin for so long, and then fewer at once."""
        until = time.monotonic() + max(seconds, LEAST_PAUSE_SECONDS)
        self._resume_at = max(self._resume_at, until)
        self._allowed = max(1.0, self._allowed / 2)

    def record_failure(self) -> None:
        """Note that an upstream failed; when nothing else comes, the whole batch waits longer."""
        self._failures_in_row += 1
        if self._failures_in_row > CHANCE_FAILURES:
            doublings = min(self._failures_in_row - CHANCE_FAILURES, MOST_DOUBLINGS)
            self.pause(2.0**doublings)

    async def sleep(self, seconds: float) -> None:
        """Wait for so long, or until the batch stops."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopped.wait()
        except TimeoutError:
            pass

    def _find_wait_seconds(self) -> float:
        """Return how long to wait before the next look; 0 when a line may begin now."""
        paused_seconds = self._resume_at - time.monotonic()
        if paused_seconds > 0:
            return min(paused_seconds, 1.0)
        return 0.0 if self._has_room() else LOOK_SECONDS

    def _has_room(self) -> bool:
        """Return whether other requests keep their share of limits and of this process."""
        gateway = self._gateway
        if self._running_count >= int(self._allowed):
            return False
        if gateway.requests_in_flight > BUSY_SHARE * settings.REQUESTS_IN_FLIGHT:
            return False
        caller = gateway.keyring.find_known_caller(self.key_digest)
        limits = None if caller is None else caller.limits
        if limits is None:  # of an unknown caller, the next line finds them
            return True
        if self._running_count >= find_most_lines(limits):
            return False
        now = time.time()
        for requests_or_tokens in limits.windowed:
            for rule in requests_or_tokens:
                # lines that have just begun may not have taken theirs yet
                begun = self._running_count if rule.resource is Resource.REQUESTS else 0
                if not has_spare_share(gateway.limits.read_allowance(rule, now), begun):
                    return False
        return True


def find_most_lines(limits: CallerLimits) -> float:
    """Return how many lines may run at once: half of the requests that the caller may have."""
    amounts = [rule.amount for rule in limits.rules if rule.resource is Resource.CONCURRENCY]
    return max(1, min(amounts) // 2) if amounts else float("inf")


def has_spare_share(allowance: Allowance, begun: int) -> bool:
    """Return whether more is left of a limit than the share of other requests.

    `begun` counts the requests that lines may still take of it. The process knows the allowance
    from its latest exchange with the store; the whole limit may be there again by now.
    """
    lease = allowance.lease
    if lease is not None and time.monotonic() - allowance.leased_at >= lease.seconds_until_full:
        return True
    # a limit of very few requests has no share to spare
    return allowance.remaining - begun >= int(settings.BATCH_SPARE_SHARE * allowance.limit)
