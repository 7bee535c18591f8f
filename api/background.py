"""Responses in the background: answered in the process that took them, whoever listens; their events are rows.

A `Feed` holds the events of one running response for listeners of this process; every FLUSH_SECONDS what is new of all
feeds is written with one statement, so that listeners of other processes, and those who come back with
`starting_after`, find it. The turn in the log is finished before the last event is told. When the process dies, the
turn becomes incomplete as every other one, and who listens gets an end made of its row.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from api.responses.events import Events
from api.responses.objects import usage_of
from api.responses.parts import Event
from conversations.history import OpenTurn
from conversations.models import EventBatch, Turn
from providers.chat import Batches, Trace
from providers.exceptions import GatewayError, InternalError, ShuttingDown
from providers.offloop import off_loop

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
ENDS = ("response.completed", "response.incomplete", "response.failed")


@dataclass(slots=True)
class Feed:
    """The events of one running response so far; `written`: how many of them are rows."""

    turn: OpenTurn
    events: list[Event] = field(default_factory=list)
    written: int = 0
    over: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, events: Sequence[Event], *, over: bool = False) -> None:
        self.events += events
        self.over = self.over or over
        self._news.set()
        self._news = asyncio.Event()

    async def since(self, after: int = -1) -> AsyncGenerator[list[Event], None]:
        """The events with higher numbers than `after`, as they come, to the last one."""
        at = after + 1
        while True:
            news, over = self._news, self.over
            if at < len(self.events):
                found, at = self.events[at:], len(self.events)
                yield found
            elif over:
                return
            else:
                await news.wait()


class Background:
    """Those of one process. `feeds`: by the turn's id."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, turn: OpenTurn, trace: Trace, batches: Batches, events: Events) -> Feed:
        """Answer, whoever listens."""
        feed = self.feeds[turn.id] = Feed(turn)
        feed.add(events.begin())
        answering = asyncio.create_task(answered(feed, trace, batches, events))
        stopping = asyncio.create_task(stopped(turn, answering))
        for task in (answering, stopping):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answering.add_done_callback(lambda done: stopping.cancel())
        return feed

    async def keep(self) -> None:
        """Write what is new, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self.feeds:
                await self.flush()

    async def flush(self) -> None:
        """Write the events that are no rows yet; what the database does not take now is tried again."""
        found = [(feed, len(feed.events), feed.over) for feed in self.feeds.values()]
        fresh = [(UUID(feed.turn.id), feed.events[feed.written : end]) for feed, end, _ in found if end > feed.written]
        try:
            if fresh:
                await off_loop(write, fresh)
        except DatabaseError as error:
            logger.warning("events of responses in the background are not written yet: %s", error)
            return
        for feed, end, over in found:
            feed.written = end
            if over:
                self.feeds.pop(feed.turn.id, None)

    async def stop(self) -> None:
        """Let what runs come to its end, for GRACE_SECONDS; what does not is cut off."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=settings.GRACE_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.flush()


async def answered(feed: Feed, trace: Trace, batches: Batches, events: Events) -> None:
    """Tell the feed what is answered, to its end."""
    try:
        async with aclosing(batches):
            async for _ in batches:
                feed.add(events.news())
        counted = trace.counted
        feed.add(events.end(usage_of(counted, None if counted is None or counted.estimated else trace.usage)))
    except GatewayError as error:
        feed.add(events.fail(error))
    except asyncio.CancelledError:
        if not feed.turn.stop.is_set():  # else its end is told by the row, which says that it was cancelled
            feed.add(events.fail(ShuttingDown("The server is shutting down.")))
        raise
    except Exception:
        feed.add(events.fail(InternalError("Something went wrong here.")))
        raise
    finally:
        feed.add((), over=True)


async def stopped(turn: OpenTurn, answering: "asyncio.Task[None]") -> None:
    """Break the answer off when somebody asks for it."""
    with suppress(asyncio.CancelledError):
        await turn.stop.wait()
        answering.cancel()


def write(fresh: Sequence[tuple[UUID, list[Event]]]) -> None:
    """Write events, a row for each response; of one that was deleted meanwhile nothing."""
    there = set(Turn.objects.filter(pk__in=[turn_id for turn_id, _ in fresh]).values_list("pk", flat=True))
    EventBatch.objects.bulk_create(
        (
            EventBatch(
                turn_id=turn_id,
                first=events[0]["sequence_number"],
                last=events[-1]["sequence_number"],
                events=events,
            )
            for turn_id, events in fresh
            if turn_id in there
        ),
        ignore_conflicts=True,
    )
