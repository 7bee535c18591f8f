"""Background responses: the process that accepted one answers it, with or without listeners.

A `Feed` holds the newest events of one response for listeners of this process. Every FLUSH_SECONDS
the new events of all feeds are written with one statement. Listeners of other processes
(`api/responses/background_follower.py`), and those who come back with `starting_after`, read them
there. Written events need not stay in memory. The turn is finished before the last event is sent.
When the process dies, the turn becomes incomplete like every other one, and listeners get a final
event made from its row. So do listeners to an answer that is stopped.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar
from uuid import UUID

import orjson
from django.conf import settings
from django.db import DatabaseError, DataError

from api.responses import event_log
from api.responses.events import Events
from api.responses.objects import usage_of
from api.responses.part_events import Event
from conversations.history.recorder import SHUT_DOWN, OpenTurn
from conversations.messages.items import storable
from providers.database.database_threads import HOUSEKEEPING, in_time, off_loop
from providers.exceptions import (
    DatabaseUnavailable,
    GatewayError,
    InternalError,
    KeyLimitExceeded,
    Saturated,
    ShuttingDown,
)
from providers.protocol.chunks import Batches
from providers.protocol.trace import Trace

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
FLUSH_SECONDS = 0.1
AGAIN_SECONDS = 0.5  # pause before the database is tried again
PATIENCE_SECONDS = 30.0  # how long listeners wait for a database that is away
LOOK_SECONDS = 0.05  # pause between two looks at the row of a stopped answer
RETRY_SECONDS = 5  # retry-after for a user who has too many responses
EARLIER_SECONDS = 0.5  # before the grace is over, so that listeners still get the end


# --- one response ---------------------------------------------------------------------------------
@dataclass(slots=True)
class Feed:
    """The newest events of one response; all before the number `first` are rows.

    `stop` is set when somebody asks for its end. `error` says why no more events come here, though
    more may come elsewhere.
    """

    id: str  # id of the turn
    first: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[Event] = field(default_factory=list)
    over: bool = False
    error: GatewayError | None = None
    listeners: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def next(self) -> int:
        """Return the number of the next event."""
        return self.first + len(self.events)

    def add(
        self, events: Sequence[Event], *, over: bool = False, error: GatewayError | None = None
    ) -> None:
        self.events += map(clean, events)
        self.over = self.over or over
        self.error = error
        self._news.set()
        self._news = asyncio.Event()

    def forget(self, number: int) -> None:
        """Drop the events before this number: they are rows now, or will never be."""
        del self.events[: number - self.first]
        self.first = number

    async def since(
        self, after: int = -1, quiet_seconds: float | None = None
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the events with numbers above `after` as they come, up to the last one.

        Yields an empty list when none came for `quiet_seconds`. Raises DatabaseUnavailable,
        ShuttingDown, InternalError.
        """
        at = after + 1
        while True:
            news = self._news
            over = self.over
            error = self.error
            first = self.first
            if at < first:  # a listener that came late, or reads slowly
                found = await patiently(event_log.following, UUID(self.id), at)
                at = found[-1]["sequence_number"] + 1 if found else first
            elif at < self.next:
                found = self.events[at - first :]
                at = self.next
            elif error is not None:
                raise error
            elif over or await happens(news, quiet_seconds):
                if over:
                    return
                continue
            else:
                found = []
            yield found


def clean(event: Event) -> Event:
    """Return the event without characters that no database can hold."""
    try:
        if b"\\u0000" not in orjson.dumps(event):
            return event
    except orjson.JSONEncodeError:  # a lone surrogate
        pass
    cleaned: Event = storable(event)
    return cleaned


async def happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event for so many seconds, and return whether it happened."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def patiently(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the database's answer, trying again for PATIENCE_SECONDS while it is away.

    Raises DatabaseUnavailable.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await in_time(off_loop(question, *args, **kwargs))
        except DatabaseUnavailable:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(AGAIN_SECONDS)


class Place:
    """A user's place for one response; a context that frees it at the end unless it was kept."""

    def __init__(self, user_id: int, places: dict[int, int]) -> None:
        self._user_id = user_id
        self._places = places
        self._kept = False

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._kept:
            self.free()

    def keep(self) -> Callable[[object], None]:
        """Keep the place until the returned function is called, for example when a task ends."""
        self._kept = True
        return lambda done: self.free()

    def free(self) -> None:
        left = self._places.get(self._user_id, 0) - 1
        if left > 0:
            self._places[self._user_id] = left
        else:
            self._places.pop(self._user_id, None)


# --- all responses of a process -------------------------------------------------------------------
class Background:
    """The background responses of this process; `feeds` is keyed by turn id."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._stopping: set[asyncio.Task[None]] = set()
        self._flushing = asyncio.Lock()
        self._places: dict[int, int] = {}  # taken places by user id
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until: float | None = None  # end of the grace while draining, on the monotonic clock

    def take_place(self, user_id: int, in_flight: int) -> "Place":
        """Take a place for one more response of the user, and return it.

        The caller has to free it. Raises KeyLimitExceeded when the user has none left; Saturated
        when there is no room beside the running responses and the requests in flight, this one
        among them; ShuttingDown when the process no longer begins responses.
        """
        if self._until is not None:
            raise ShuttingDown("The server is shutting down.", retry_after_seconds=1)
        if len(self._answering) + in_flight > settings.REQUESTS_IN_FLIGHT:
            raise Saturated(
                "Too many responses are running in the background.", retry_after_seconds=1
            )
        most = settings.BACKGROUND_PER_USER
        if most and self._places.get(user_id, 0) >= most:
            message = (
                f"You have {most} responses running in the background; wait until some have ended."
            )
            raise KeyLimitExceeded(message, retry_after_seconds=RETRY_SECONDS)
        self._places[user_id] = self._places.get(user_id, 0) + 1
        return Place(user_id, self._places)

    def begin(
        self,
        turn: OpenTurn,
        trace: Trace,
        answer: tuple[Batches, Events],
        *when_over: Callable[[object], None],
    ) -> Feed:
        """Start the task that answers, and return its feed.

        Each function of `when_over` is called when the answer has ended.
        """
        batches, events = answer
        self._loop = asyncio.get_running_loop()
        feed = self.feeds[turn.id] = Feed(turn.id, stop=turn.stop)
        feed.add(events.begin())
        answering = asyncio.create_task(answered(feed, trace, batches, events))
        stopping = asyncio.create_task(stopped(feed, answering))
        for task, tasks in ((answering, self._answering), (stopping, self._stopping)):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        answering.add_done_callback(lambda done: stopping.cancel())
        for callback in when_over:
            answering.add_done_callback(callback)
        return feed

    def end_soon(self, turn_id: str) -> None:
        """Stop a response if it runs here; can be called in any thread.

        Otherwise the process would notice the request to stop only later, in the turn's row.
        """
        feed = self.feeds.get(turn_id)
        loop = self._loop
        if feed is not None and loop is not None:
            loop.call_soon_threadsafe(feed.stop.set)

    async def keep(self) -> None:
        """Write new events every FLUSH_SECONDS, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self.feeds:
                await self.flush()

    async def flush(self) -> None:
        """Write the events that are no rows yet; after a database error, try them again later."""
        async with self._flushing:
            found = [(feed, feed.next, feed.over) for feed in self.feeds.values()]
            fresh = [(UUID(feed.id), list(feed.events)) for feed, _, _ in found if feed.events]
            try:
                if fresh:
                    await kept(fresh)
            except DatabaseError as error:
                logger.warning(
                    "events of responses in the background are not written yet: %s", error
                )
                return
            for feed, end, over in found:
                feed.forget(end)
                if over:
                    self.feeds.pop(feed.id, None)

    # --- the end ----------------------------------------------------------------------------------
    def drain(self) -> float:
        """Begin no more responses, and cut off the running ones when the grace is over.

        Returns the seconds that are left: GRACE_SECONDS less a moment in which listeners get the
        end.
        """
        grace: float = settings.GRACE_SECONDS
        grace -= min(EARLIER_SECONDS, grace / 4)
        if self._until is None:
            self._until = time.monotonic() + grace
            asyncio.get_running_loop().call_later(grace, self._cut_off)
        return max(0.0, self._until - time.monotonic())

    def _cut_off(self) -> None:
        for task in self._answering:
            if not task.cancelling():
                task.cancel("shutdown")

    async def stop(self) -> None:
        """Drain, cut off responses that do not end, and write their last events."""
        left = self.drain()
        if self._answering:
            await asyncio.wait(self._answering, timeout=left)
        self._cut_off()
        await asyncio.gather(*self._answering, *self._stopping, return_exceptions=True)
        await self.flush()


async def kept(fresh: Sequence[tuple[UUID, list[Event]]]) -> None:
    """Write events; a response whose events the database refuses is left out."""
    try:
        await HOUSEKEEPING.run(event_log.write, fresh)
    except (DataError, TypeError, ValueError) as error:
        if len(fresh) == 1:
            logger.warning("events of a response in the background cannot be written: %s", error)
            return
        for one in fresh:
            await kept([one])


async def answered(feed: Feed, trace: Trace, batches: Batches, events: Events) -> None:
    """Add the events of the answer to the feed, up to its end."""
    try:
        async with aclosing(batches):
            async for _ in batches:
                feed.add(events.news())
        feed.add(events.end(usage_of(trace.meter.counted)))
    except GatewayError as error:
        feed.add(events.fail(error))
    except asyncio.CancelledError as cancelled:
        if cancelled.args:  # the server shuts down; the written turn has the same error
            usage = usage_of(trace.meter.counted)
            feed.add(events.fail(ShuttingDown(SHUT_DOWN["message"]), usage))
        else:
            feed.add(await broken_off(feed, events))
        raise
    except Exception:
        feed.add(events.fail(InternalError("Something went wrong here.")))
        raise
    finally:
        feed.add((), over=True)


async def broken_off(feed: Feed, events: Events) -> list[Event]:
    """Return the final event of a stopped answer, made from its turn's row.

    There is none for a response that was deleted. When the row does not have the end within
    DATABASE_TIMEOUT_SECONDS, the event is a failure.
    """
    until = time.monotonic() + settings.DATABASE_TIMEOUT_SECONDS
    while time.monotonic() < until:
        with suppress(DatabaseUnavailable):
            found = await in_time(off_loop(event_log.ending, UUID(feed.id), feed.next))
            if found.over:
                return found.events
        await asyncio.sleep(LOOK_SECONDS)
    return events.fail(DatabaseUnavailable("The end of the answer could not be written."))


async def stopped(feed: Feed, answering: "asyncio.Task[None]") -> None:
    """Cancel the answer when somebody asks for its end."""
    with suppress(asyncio.CancelledError):
        await feed.stop.wait()
        if not answering.cancelling():
            answering.cancel()
