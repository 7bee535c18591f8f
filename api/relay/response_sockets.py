"""The WebSockets of /v1/responses that are open in this process, counted for each API key."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from providers.exceptions import KeyLimitExceeded, Saturated
from providers.fast_settings import settings


class ResponseSockets:
    """Count open WebSockets and the bytes of their local state; tell them of the shutdown.

    `state_bytes` is the size of everything that they remember for their next turns.
    """

    def __init__(self) -> None:
        self._counts: Counter[int | None] = Counter()  # by the id of the API key
        self._drain_callbacks: set[Callable[[], None]] = set()
        self.state_bytes = 0

    def __len__(self) -> int:
        """Return how many are open."""
        return self._counts.total()

    @contextmanager
    def hold_place(self, key_id: int | None, on_drain: Callable[[], None]) -> Iterator[None]:
        """Count one WebSocket of the key during the block; `on_drain` is called at the shutdown.

        Raises Saturated, KeyLimitExceeded.
        """
        if len(self) >= settings.RESPONSE_SOCKETS:
            raise Saturated("Too many WebSockets are open.", retry_after_seconds=5)
        limit = settings.RESPONSE_SOCKETS_PER_KEY
        if self._counts[key_id] >= limit:
            text = f"This API key may have {limit} WebSockets open at the same time."
            raise KeyLimitExceeded(text, retry_after_seconds=5)
        self._counts[key_id] += 1
        self._drain_callbacks.add(on_drain)
        try:
            yield
        finally:
            self._drain_callbacks.discard(on_drain)
            self._counts[key_id] -= 1
            if not self._counts[key_id]:
                del self._counts[key_id]

    def begin_drain(self) -> None:
        """Let every WebSocket end after its running turns."""
        for begin_drain in list(self._drain_callbacks):
            begin_drain()
