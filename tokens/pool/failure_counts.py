"""Failures in a row of each provider, and the token that last answered each conversation.

Both live in memory, per process. Each process notices a failing pool on its own; if several order
its renewal at once, it is still done only once (`renew_pool.py`).
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings

FAILURES_BEFORE_RENEWAL = 2  # failures that call for new credentials
SMALL_POOL_SIZE = 2  # tokens; in a pool this small only rejections count as a sign


@dataclass(slots=True)
class ProviderFailures:
    """The failures of one provider since its last success."""

    rejected_tokens: int = 0
    # the provider's own failures; rate limits do not count, as they accept the token
    other_failures: int = 0
    last_at: datetime | None = None


class FailureCounts:
    """The failures in a row of all providers.

    `renewal_requests` brings the ids of providers whose tokens should be renewed, each at most once
    per REFRESH_WINDOW_SECONDS.
    """

    def __init__(self) -> None:
        self.by_provider: dict[int, ProviderFailures] = {}
        self.renewal_requests: asyncio.Queue[int] = asyncio.Queue()
        self._next_request_times: dict[int, float] = {}

    def find_failures(self, provider_id: int) -> ProviderFailures:
        return self.by_provider.get(provider_id) or ProviderFailures()

    def count_failure(self, provider_id: int, *, is_rejection: bool, pool_size: int) -> bool:
        """Count one failure, and return whether the provider's tokens should be renewed now.

        `is_rejection`: the token was rejected. `pool_size`: the number of the provider's tokens.
        FAILURES_BEFORE_RENEWAL failures of one kind are enough; other failures count only in a
        pool larger than SMALL_POOL_SIZE.
        """
        failures = self.by_provider.setdefault(provider_id, ProviderFailures())
        failures.last_at = datetime.now(UTC)
        if is_rejection:
            failures.rejected_tokens += 1
            return failures.rejected_tokens >= FAILURES_BEFORE_RENEWAL
        failures.other_failures += 1
        return failures.other_failures >= FAILURES_BEFORE_RENEWAL and pool_size > SMALL_POOL_SIZE

    def clear_failures(self, provider_id: int) -> None:
        """Clear the provider's failures, after a good answer or when a person resets them."""
        self.by_provider.pop(provider_id, None)

    def request_renewal(self, provider_id: int) -> None:
        now = time.monotonic()
        if now >= self._next_request_times.get(provider_id, 0.0):
            self._next_request_times[provider_id] = now + settings.REFRESH_WINDOW_SECONDS
            self.renewal_requests.put_nowait(provider_id)


class StickyTokens:
    """The token that last answered each conversation, per provider.

    It remembers the most recent STICKY_CONVERSATIONS pairs.
    """

    def __init__(self) -> None:
        self._tokens: OrderedDict[tuple[str, int], UUID] = OrderedDict()

    def find_token_id(self, conversation: str, provider_id: int) -> UUID | None:
        return self._tokens.get((conversation, provider_id))

    def store_token_id(self, conversation: str, provider_id: int, token_id: UUID) -> None:
        key = conversation, provider_id
        self._tokens[key] = token_id
        self._tokens.move_to_end(key)
        if len(self._tokens) > settings.STICKY_CONVERSATIONS:
            self._tokens.popitem(last=False)
