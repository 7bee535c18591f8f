"""Listeners to background responses that another process runs, or whose process has died.

All listeners of a process share one query, which runs less often while nothing is new.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from api.responses import event_log
from api.responses.background_runner import PATIENCE_SECONDS, Feed, happens, patiently
from api.responses.part_events import Event
from providers.database.database_threads import HOUSEKEEPING, in_time
from providers.exceptions import DatabaseUnavailable, GatewayError, InternalError, ShuttingDown

logger = logging.getLogger(__name__)

SOON_SECONDS = 0.1
LATER_SECONDS = 0.5  # pauses between two queries, with and without new events
SLOWER = 1.3


class Elsewhere:
    """The responses of other processes that are followed here; `feeds` is keyed by turn id."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self._joined = asyncio.Event()
        self._away_since: float | None = None  # time since the database is away

    async def follow(
        self, turn_id: str, after: int, quiet_seconds: float
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the events of a response; arguments and errors are those of `Feed.since`."""
        start = await patiently(event_log.next_number, UUID(turn_id))
        feed = self.feeds.setdefault(turn_id, Feed(turn_id, first=start))
        feed.listeners += 1
        self._joined.set()
        try:
            async with aclosing(feed.since(after, quiet_seconds)) as events:
                async for some in events:
                    yield some
        finally:
            feed.listeners -= 1
            if not feed.listeners and self.feeds.get(turn_id) is feed:
                del self.feeds[turn_id]

    async def keep(self) -> None:
        """Look for new events of the followed responses, until cancelled."""
        pause = SOON_SECONDS
        while True:
            await happens(self._joined, pause if self.feeds else None)
            self._joined.clear()
            pause = SOON_SECONDS if await self.look() else min(LATER_SECONDS, pause * SLOWER)

    async def look(self) -> bool:
        """Read new events of the followed responses and return whether there were any."""
        wanted = {UUID(feed.id): feed.next for feed in self.feeds.values() if not feed.over}
        try:
            found = await in_time(HOUSEKEEPING.run(event_log.news, wanted)) if wanted else {}
        except DatabaseUnavailable as error:
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since > PATIENCE_SECONDS:
                self.fail(error)
            return False
        except Exception:
            logger.exception("rows of responses could not be read")
            self.fail(
                InternalError("Something went wrong here.")
            )  # otherwise the listeners would wait for ever
            return False
        self._away_since = None
        for turn_id, (events, over) in found.items():
            feed = self.feeds.get(turn_id.hex)
            if feed is not None and feed.next == wanted[turn_id] and (events or over):
                feed.forget(feed.next)
                feed.add(events, over=over)
        return any(events for events, _ in found.values())

    def fail(self, error: GatewayError) -> None:
        """End all followed responses with this error."""
        feeds = self.feeds
        self.feeds = {}
        for feed in feeds.values():
            feed.add((), over=True, error=error)

    def stop(self) -> None:
        self.fail(ShuttingDown("The server is shutting down."))
