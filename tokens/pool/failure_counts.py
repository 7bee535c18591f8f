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

IN_A_ROW = 2  # failures that call for new credentials
SMALL_POOL = 2  # tokens; in a pool this small only rejections count as a sign


@dataclass(slots=True)
class Consecutive:
    """The failures of one provider since its last success."""

    auth: int = 0  # rejected tokens
    other: int = (
        0  # the provider's own failures; rate limits do not count, as they accept the token
    )
    last_at: datetime | None = None


class Troubles:
    """The failures in a row of all providers.

    `alarms` brings the ids of providers whose tokens should be renewed, each at most once per
    REFRESH_WINDOW_SECONDS.
    """

    def __init__(self) -> None:
        self.known: dict[int, Consecutive] = {}
        self.alarms: asyncio.Queue[int] = asyncio.Queue()
        self._quiet_until: dict[int, float] = {}

    def of(self, provider_id: int) -> Consecutive:
        return self.known.get(provider_id) or Consecutive()

    def count(self, provider_id: int, *, auth: bool, tokens: int) -> bool:
        """Count one failure, and return whether the provider's tokens should be renewed now.

        `auth`: the token was rejected. `tokens`: the number of the provider's tokens. IN_A_ROW
        failures of one kind are enough; other failures count only in a pool larger than SMALL_POOL.
        """
        found = self.known.setdefault(provider_id, Consecutive())
        found.last_at = datetime.now(UTC)
        if auth:
            found.auth += 1
            return found.auth >= IN_A_ROW
        found.other += 1
        return found.other >= IN_A_ROW and tokens > SMALL_POOL

    def forget(self, provider_id: int) -> None:
        """Clear the provider's failures, after a good answer or when a person resets them."""
        self.known.pop(provider_id, None)

    def alarm(self, provider_id: int) -> None:
        now = time.monotonic()
        if now >= self._quiet_until.get(provider_id, 0.0):
            self._quiet_until[provider_id] = now + settings.REFRESH_WINDOW_SECONDS
            self.alarms.put_nowait(provider_id)


class Sticky:
    """The token that last answered each conversation, per provider.

    It remembers the most recent STICKY_CONVERSATIONS pairs.
    """

    def __init__(self) -> None:
        self._tokens: OrderedDict[tuple[str, int], UUID] = OrderedDict()

    def token(self, conversation: str, provider_id: int) -> UUID | None:
        return self._tokens.get((conversation, provider_id))

    def keep(self, conversation: str, provider_id: int, token_id: UUID) -> None:
        key = conversation, provider_id
        self._tokens[key] = token_id
        self._tokens.move_to_end(key)
        if len(self._tokens) > settings.STICKY_CONVERSATIONS:
            self._tokens.popitem(last=False)
