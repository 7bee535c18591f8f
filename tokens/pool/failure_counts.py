"""What a process remembers of its providers beside their tokens: failures in a row, and which
conversation has which token.

Both live in memory, per process: a pool that fails is noticed by each process on its own, and what
they start together is done once (`renew_pool.py`).
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings

IN_A_ROW = 2  # failures that call for new credentials
SMALL_POOL = 2  # tokens; failures other than rejections mean nothing in a pool that is no larger


@dataclass(slots=True)
class Consecutive:
    """One provider's failures since its last success."""

    auth: int = 0  # rejected tokens
    other: int = (
        0  # the provider's own failures; limits are none: they show that the token is accepted
    )
    last_at: datetime | None = None


class Troubles:
    """`alarms` brings the ids of providers whose tokens are to be renewed, each at most once per
    window.
    """

    def __init__(self) -> None:
        self.known: dict[int, Consecutive] = {}
        self.alarms: asyncio.Queue[int] = asyncio.Queue()
        self._quiet_until: dict[int, float] = {}

    def of(self, provider_id: int) -> Consecutive:
        return self.known.get(provider_id) or Consecutive()

    def count(self, provider_id: int, *, auth: bool, tokens: int) -> bool:
        """One more; whether there were enough in a row to renew the provider's `tokens`."""
        found = self.known.setdefault(provider_id, Consecutive())
        found.last_at = datetime.now(UTC)
        if auth:
            found.auth += 1
            return found.auth >= IN_A_ROW
        found.other += 1
        return found.other >= IN_A_ROW and tokens > SMALL_POOL

    def forget(self, provider_id: int) -> None:
        """It answered well, or a person says so."""
        self.known.pop(provider_id, None)

    def alarm(self, provider_id: int) -> None:
        now = time.monotonic()
        if now >= self._quiet_until.get(provider_id, 0.0):
            self._quiet_until[provider_id] = now + settings.REFRESH_WINDOW_SECONDS
            self.alarms.put_nowait(provider_id)


class Sticky:
    """Which token a conversation was answered with, the most recent STICKY_CONVERSATIONS of
    them.
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
