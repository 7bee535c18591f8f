"""The requests that run at the same time in this process, counted for each API key."""

from collections.abc import Iterator
from contextlib import contextmanager

from providers.exceptions import KeyLimitExceeded
from providers.fast_settings import settings


class KeyRequests:
    """Count each API key's running requests, so that no key takes all of REQUESTS_IN_FLIGHT."""

    def __init__(self) -> None:
        self._running_counts: dict[int, int] = {}

    def add_request(self, key_id: int) -> None:
        """Count one more request of the key.

        Raises KeyLimitExceeded when the key already has REQUESTS_IN_FLIGHT_PER_KEY (0: no limit).
        """
        running = self._running_counts.get(key_id, 0)
        limit = settings.REQUESTS_IN_FLIGHT_PER_KEY
        if limit and running >= limit:
            text = f"This API key may have {limit} requests running at the same time."
            raise KeyLimitExceeded(text, retry_after_seconds=1)
        self._running_counts[key_id] = running + 1

    def remove_request(self, key_id: int) -> None:
        """Count one request of the key less."""
        running = self._running_counts[key_id] - 1
        if running:
            self._running_counts[key_id] = running
        else:
            del self._running_counts[key_id]

    @contextmanager
    def track_request(self, key_id: int) -> Iterator[None]:
        """Count one request of the key during the block.

        Raises KeyLimitExceeded.
        """
        self.add_request(key_id)
        try:
            yield
        finally:
            self.remove_request(key_id)

    def __len__(self) -> int:
        """Return how many keys have running requests."""
        return len(self._running_counts)
