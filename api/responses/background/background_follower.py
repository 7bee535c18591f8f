"""Listeners to background responses that another process runs, or whose process has died.

All listeners of a process share one query, which runs less often while nothing is new.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from api.responses.background import event_log
from api.responses.background.event_log import NewEvents
from api.responses.background.feed import (
    DATABASE_WAIT_SECONDS,
    Feed,
    query_with_retries,
    wait_for_signal,
)
from api.responses.output.part_events import Event
from providers.database.database_threads import HOUSEKEEPING, await_in_time
from providers.exceptions import DatabaseUnavailable, GatewayError, InternalError, ShuttingDown

logger = logging.getLogger(__name__)

# The pause between two queries grows while no new events come.
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.5
PAUSE_GROWTH = 1.3


class BackgroundFollower:
    """The responses of other processes that are followed here; `feeds` is keyed by turn id."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self._listener_joined = asyncio.Event()
        self._database_away_since: float | None = None  # on the monotonic clock

    async def follow_response(
        self, turn_id: str, after_number: int, quiet_seconds: float
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the events of a response; arguments and errors are as in `Feed.follow_events`."""
        start = await query_with_retries(event_log.find_next_number, UUID(turn_id))
        feed = self.feeds.setdefault(turn_id, Feed(turn_id, first_number=start))
        feed.listener_count += 1
        self._listener_joined.set()
        try:
            async with aclosing(feed.follow_events(after_number, quiet_seconds)) as batches:
                async for events in batches:
                    yield events
        finally:
            feed.listener_count -= 1
            if not feed.listener_count and self.feeds.get(turn_id) is feed:
                del self.feeds[turn_id]

    async def poll_until_cancelled(self) -> None:
        """Look for new events of the followed responses, until cancelled."""
        pause = SHORTEST_PAUSE_SECONDS
        while True:
            await wait_for_signal(self._listener_joined, pause if self.feeds else None)
            self._listener_joined.clear()
            pause = min(LONGEST_PAUSE_SECONDS, pause * PAUSE_GROWTH)
            if await self.deliver_new_events():
                pause = SHORTEST_PAUSE_SECONDS

    async def deliver_new_events(self) -> bool:
        """Read new events of the followed responses and return whether there were any."""
        next_numbers = {
            UUID(feed.turn_id): feed.next_event_number
            for feed in self.feeds.values()
            if not feed.is_over
        }
        if not next_numbers:
            self._database_away_since = None
            return False
        try:
            new_events_by_turn = await await_in_time(
                HOUSEKEEPING.run_work(event_log.load_new_events, next_numbers)
            )
        except DatabaseUnavailable as error:
            self._database_away_since = self._database_away_since or time.monotonic()
            if time.monotonic() - self._database_away_since > DATABASE_WAIT_SECONDS:
                self.fail_feeds(error)
            return False
        except Exception:  # a fault of ours; without an end the listeners would wait for ever
            logger.exception("rows of responses could not be read")
            self.fail_feeds(InternalError("Something went wrong here."))
            return False
        self._database_away_since = None
        for turn_id, new_events in new_events_by_turn.items():
            self._deliver_to_feed(turn_id, next_numbers[turn_id], new_events)
        return any(new_events.events for new_events in new_events_by_turn.values())

    def _deliver_to_feed(self, turn_id: UUID, next_number: int, new_events: NewEvents) -> None:
        """Add new events to a turn's feed, unless it has changed since they were read."""
        feed = self.feeds.get(turn_id.hex)
        if feed is None or feed.next_event_number != next_number:
            return
        if new_events.events or new_events.is_over:
            feed.drop_events(next_number)
            feed.add_events(new_events.events, is_over=new_events.is_over)

    def fail_feeds(self, error: GatewayError) -> None:
        """End all followed responses with this error."""
        feeds = self.feeds
        self.feeds = {}
        for feed in feeds.values():
            feed.add_events((), is_over=True, error=error)

    def stop_following(self) -> None:
        self.fail_feeds(ShuttingDown("The server is shutting down."))
