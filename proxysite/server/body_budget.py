"""The bytes of request bodies that this process holds: in memory, on disk, and per caller.

Small bodies are not counted: nearly all requests have one, and REQUESTS_IN_FLIGHT bounds their sum.
A body larger than COUNTED_BYTES takes a `BodyShare`, which its request gives back when it ends.
"""

from collections import Counter

from providers.exceptions import KeyLimitExceeded, Saturated
from providers.fast_settings import settings

COUNTED_BYTES = 65_536  # larger bodies are counted
Owner = int | str  # the id of an API key, or a text for callers without one


class BodyBudget:
    """The sums over all running requests of this process."""

    def __init__(self) -> None:
        self.memory_bytes = 0
        self.disk_bytes = 0
        self.bytes_by_owner: Counter[Owner] = Counter()

    def open_share(self, owner: Owner) -> "BodyShare":
        """Return the share of one request of this owner, which holds nothing yet."""
        return BodyShare(self, owner)


class BodyShare:
    """The bytes of the budget that one request holds.

    The methods that take more raise Saturated or KeyLimitExceeded.
    """

    def __init__(self, budget: BodyBudget, owner: Owner) -> None:
        self._budget = budget
        self._owner = owner
        self.memory_bytes = 0
        self.disk_bytes = 0

    def require_room(self, size_bytes: int) -> None:
        """Raise unless a body of this size fits now.

        Called for an announced size, before the body is read.
        """
        self._require_room_of_owner(size_bytes)
        self._require_memory(size_bytes)

    def reserve_memory(self, size_bytes: int) -> None:
        """Count that many more bytes in memory."""
        self._require_room_of_owner(size_bytes)
        self._require_memory(size_bytes)
        self._add_bytes(memory_bytes=size_bytes)

    def reserve_disk(self, size_bytes: int) -> None:
        """Count that many more bytes on disk."""
        self._require_room_of_owner(size_bytes)
        self._require_disk(size_bytes)
        self._add_bytes(disk_bytes=size_bytes)

    def move_to_disk(self) -> None:
        """Count on disk the bytes that were in memory."""
        self._require_disk(self.memory_bytes)
        self._add_bytes(memory_bytes=-self.memory_bytes, disk_bytes=self.memory_bytes)

    def move_to_memory(self) -> None:
        """Count in memory the bytes that were on disk."""
        self._require_memory(self.disk_bytes)
        self._add_bytes(memory_bytes=self.disk_bytes, disk_bytes=-self.disk_bytes)

    def release_bytes(self) -> None:
        """Give all bytes back to the budget."""
        self._add_bytes(memory_bytes=-self.memory_bytes, disk_bytes=-self.disk_bytes)

    def _add_bytes(self, memory_bytes: int = 0, disk_bytes: int = 0) -> None:
        budget = self._budget
        self.memory_bytes += memory_bytes
        self.disk_bytes += disk_bytes
        budget.memory_bytes += memory_bytes
        budget.disk_bytes += disk_bytes
        budget.bytes_by_owner[self._owner] += memory_bytes + disk_bytes
        if not budget.bytes_by_owner[self._owner]:
            del budget.bytes_by_owner[self._owner]

    def _require_room_of_owner(self, size_bytes: int) -> None:
        limit_bytes = settings.BODIES_BYTES_PER_KEY
        if limit_bytes and self._budget.bytes_by_owner[self._owner] + size_bytes > limit_bytes:
            raise KeyLimitExceeded(
                f"The bodies of this API key's running requests may have {limit_bytes} bytes "
                "together.",
                retry_after_seconds=1,
            )

    def _require_memory(self, size_bytes: int) -> None:
        if self._budget.memory_bytes + size_bytes > settings.BODIES_BYTES:
            raise Saturated("Too many large requests are running.", retry_after_seconds=1)

    def _require_disk(self, size_bytes: int) -> None:
        if self._budget.disk_bytes + size_bytes > settings.BODIES_DISK_BYTES:
            raise Saturated("Too many large requests are arriving.", retry_after_seconds=1)


def largest_body_bytes() -> int:
    """Return how large one body may be: the smallest of the limits that are set."""
    limits = (settings.BODY_LIMIT_BYTES, settings.BODIES_BYTES, settings.BODIES_BYTES_PER_KEY)
    return int(min(filter(None, limits)))
