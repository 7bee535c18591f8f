"""A limit on retries at a failing provider, so that an outage does not multiply the calls.

A retry budget allows retries up to a share of the requests of the last seconds, and a few in any
case. The idea is Finagle's and Envoy's ("retry budgets").
"""

from django.conf import settings

WINDOW_SECONDS = 10


class RetryBudget:
    """The requests and retries of one provider, counted by the second of one clock."""

    __slots__ = ("_newest_second", "_requests", "_retries", "_total_requests", "_total_retries")

    def __init__(self) -> None:
        self._requests = [0] * WINDOW_SECONDS
        self._retries = [0] * WINDOW_SECONDS
        self._total_requests = 0
        self._total_retries = 0
        self._newest_second = 0

    def count_request(self, now: float) -> None:
        """Count the first call of a request."""
        second = int(now)
        if second != self._newest_second:
            self._forget_until(second)
        self._requests[second % WINDOW_SECONDS] += 1
        self._total_requests += 1

    def take_retry(self, now: float) -> bool:
        """Count one more call of a request that failed here; return whether it may be made."""
        second = int(now)
        if second != self._newest_second:
            self._forget_until(second)
        least = settings.RETRIES_PER_SECOND * WINDOW_SECONDS
        if self._total_retries >= max(least, settings.RETRY_SHARE * self._total_requests):
            return False
        self._retries[second % WINDOW_SECONDS] += 1
        self._total_retries += 1
        return True

    def _forget_until(self, second: int) -> None:
        """Empty the slots of the seconds that passed since the newest one."""
        last_second = min(second, self._newest_second + WINDOW_SECONDS)
        for passed_second in range(self._newest_second + 1, last_second + 1):
            slot = passed_second % WINDOW_SECONDS
            self._total_requests -= self._requests[slot]
            self._total_retries -= self._retries[slot]
            self._requests[slot] = 0
            self._retries[slot] = 0
        self._newest_second = second
