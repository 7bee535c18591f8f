"""Background responses: the process that accepted one answers it, with or without listeners.

A `Feed` holds the newest events of one response for listeners of this process. Every FLUSH_SECONDS
the new events of all feeds are written with one statement. Listeners of other processes
(`background_follower.py`), and those who come back with `starting_after`, read them there. Written
events need not stay in memory. The turn is finished before the last event is sent. When the process
dies, the turn becomes incomplete like every other one, and listeners get a final event made from
its row. So do listeners to an answer that is stopped.
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

from api.responses.background import event_log
from api.responses.output.events import ResponseEvents
from api.responses.output.objects import render_usage
from api.responses.output.part_events import Event
from conversations.history.recorder import SHUT_DOWN_ERROR, OpenTurn
from conversations.messages.items import replace_unstorable
from providers.database.database_threads import HOUSEKEEPING, await_in_time, run_in_thread
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
DATABASE_RETRY_SECONDS = 0.5  # pause before the database is tried again
DATABASE_WAIT_SECONDS = 30.0  # how long listeners wait for a database that is away
ROW_POLL_SECONDS = 0.05  # pause between two looks at the row of a stopped answer
USER_RETRY_AFTER_SECONDS = 5  # retry-after for a user who has too many responses
CANCEL_MARGIN_SECONDS = 0.5  # before the grace is over, so that listeners still get the end


# --- one response ---------------------------------------------------------------------------------
@dataclass(slots=True)
class Feed:
    """The newest events of one response; all before the number `first_number` are rows.

    `stop_requested` is set when somebody asks for its end. `error` says why no more events come
    here, though more may come elsewhere.
    """

    turn_id: str  # id of the turn
    first_number: int = 0
    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[Event] = field(default_factory=list)
    is_over: bool = False
    error: GatewayError | None = None
    listener_count: int = 0
    _change_signal: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def next_event_number(self) -> int:
        """Return the number of the next event."""
        return self.first_number + len(self.events)

    def add_events(
        self, events: Sequence[Event], *, is_over: bool = False, error: GatewayError | None = None
    ) -> None:
        self.events += map(clean_event, events)
        self.is_over = self.is_over or is_over
        self.error = error
        self._change_signal.set()
        self._change_signal = asyncio.Event()

    def drop_events(self, before_number: int) -> None:
        """Drop the events before this number: they are rows now, or will never be."""
        del self.events[: before_number - self.first_number]
        self.first_number = before_number

    async def follow_events(
        self, after_number: int = -1, quiet_seconds: float | None = None
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the events with numbers above `after_number` as they come, up to the last one.

        Yields an empty list when none came for `quiet_seconds`. Raises DatabaseUnavailable,
        ShuttingDown, InternalError.
        """
        at = after_number + 1
        while True:
            news = self._change_signal
            over = self.is_over
            error = self.error
            first = self.first_number
            if at < first:  # a listener that came late, or reads slowly
                found = await query_with_retries(event_log.load_events_from, UUID(self.turn_id), at)
                at = found[-1]["sequence_number"] + 1 if found else first
            elif at < self.next_event_number:
                found = self.events[at - first :]
                at = self.next_event_number
            elif error is not None:
                raise error
            elif over or await wait_for_signal(news, quiet_seconds):
                if over:
                    return
                continue
            else:
                found = []
            yield found


def clean_event(event: Event) -> Event:
    """Return the event without characters that no database can hold."""
    try:
        if b"\\u0000" not in orjson.dumps(event):
            return event
    except orjson.JSONEncodeError:  # a lone surrogate
        pass
    cleaned: Event = replace_unstorable(event)
    return cleaned


async def wait_for_signal(signal: asyncio.Event, timeout_seconds: float | None) -> bool:
    """Wait for an event for so many seconds, and return whether it happened."""
    try:
        async with asyncio.timeout(timeout_seconds):
            return await signal.wait()
    except TimeoutError:
        return False


async def query_with_retries(query: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the database's answer, trying again for PATIENCE_SECONDS while it is away.

    Raises DatabaseUnavailable.
    """
    until = time.monotonic() + DATABASE_WAIT_SECONDS
    while True:
        try:
            return await await_in_time(run_in_thread(query, *args, **kwargs))
        except DatabaseUnavailable:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(DATABASE_RETRY_SECONDS)


class ResponseSlot:
    """A user's place for one response; a context that frees it at the end unless it was kept."""

    def __init__(self, user_id: int, slots_by_user: dict[int, int]) -> None:
        self._user_id = user_id
        self._slots_by_user = slots_by_user
        self._is_held = False

    def __enter__(self) -> "ResponseSlot":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._is_held:
            self.release_response_slot()

    def hold_response_slot(self) -> Callable[[object], None]:
        """Keep the place until the returned function is called, for example when a task ends."""
        self._is_held = True
        return lambda done: self.release_response_slot()

    def release_response_slot(self) -> None:
        left = self._slots_by_user.get(self._user_id, 0) - 1
        if left > 0:
            self._slots_by_user[self._user_id] = left
        else:
            self._slots_by_user.pop(self._user_id, None)


# --- all responses of a process -------------------------------------------------------------------
class BackgroundRunner:
    """The background responses of this process; `feeds` is keyed by turn id."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self._answer_tasks: set[asyncio.Task[None]] = set()
        self._stop_tasks: set[asyncio.Task[None]] = set()
        self._write_lock = asyncio.Lock()
        self._slots_by_user: dict[int, int] = {}  # taken places by user id
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain_deadline: float | None = (
            None  # end of the grace while draining, on the monotonic clock
        )

    def reserve_response_slot(self, user_id: int, in_flight: int) -> "ResponseSlot":
        """Take a place for one more response of the user, and return it.

        The caller has to free it. Raises KeyLimitExceeded when the user has none left; Saturated
        when there is no room beside the running responses and the requests in flight, this one
        among them; ShuttingDown when the process no longer begins responses.
        """
        if self._drain_deadline is not None:
            raise ShuttingDown("The server is shutting down.", retry_after_seconds=1)
        if len(self._answer_tasks) + in_flight > settings.REQUESTS_IN_FLIGHT:
            raise Saturated(
                "Too many responses are running in the background.", retry_after_seconds=1
            )
        most = settings.BACKGROUND_PER_USER
        if most and self._slots_by_user.get(user_id, 0) >= most:
            message = (
                f"You have {most} responses running in the background; wait until some have ended."
            )
            raise KeyLimitExceeded(message, retry_after_seconds=USER_RETRY_AFTER_SECONDS)
        self._slots_by_user[user_id] = self._slots_by_user.get(user_id, 0) + 1
        return ResponseSlot(user_id, self._slots_by_user)

    def start_response(
        self,
        turn: OpenTurn,
        trace: Trace,
        batches_and_events: tuple[Batches, ResponseEvents],
        *end_callbacks: Callable[[object], None],
    ) -> Feed:
        """Start the task that answers, and return its feed.

        Each function of `end_callbacks` is called when the answer has ended.
        """
        batches, events = batches_and_events
        self._loop = asyncio.get_running_loop()
        feed = self.feeds[turn.id] = Feed(turn.id, stop_requested=turn.stop_event)
        feed.add_events(events.make_opening_events())
        answering = asyncio.create_task(feed_answer_events(feed, trace, batches, events))
        stopping = asyncio.create_task(cancel_when_requested(feed, answering))
        for task, tasks in ((answering, self._answer_tasks), (stopping, self._stop_tasks)):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        answering.add_done_callback(lambda done: stopping.cancel())
        for callback in end_callbacks:
            answering.add_done_callback(callback)
        return feed

    def request_stop(self, turn_id: str) -> None:
        """Stop a response if it runs here; can be called in any thread.

        Otherwise the process would notice the request to stop only later, in the turn's row.
        """
        feed = self.feeds.get(turn_id)
        loop = self._loop
        if feed is not None and loop is not None:
            loop.call_soon_threadsafe(feed.stop_requested.set)

    async def write_until_cancelled(self) -> None:
        """Write new events every FLUSH_SECONDS, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self.feeds:
                await self.write_pending_events()

    async def write_pending_events(self) -> None:
        """Write the events that are no rows yet; after a database error, try them again later."""
        async with self._write_lock:
            found = [(feed, feed.next_event_number, feed.is_over) for feed in self.feeds.values()]
            fresh = [(UUID(feed.turn_id), list(feed.events)) for feed, _, _ in found if feed.events]
            try:
                if fresh:
                    await write_acceptable_events(fresh)
            except DatabaseError as error:
                logger.warning(
                    "events of responses in the background are not written yet: %s", error
                )
                return
            for feed, end, over in found:
                feed.drop_events(end)
                if over:
                    self.feeds.pop(feed.turn_id, None)

    # --- the end ----------------------------------------------------------------------------------
    def start_draining(self) -> float:
        """Begin no more responses, and cut off the running ones when the grace is over.

        Returns the seconds that are left: GRACE_SECONDS less a moment in which listeners get the
        end.
        """
        grace: float = settings.GRACE_SECONDS
        grace -= min(CANCEL_MARGIN_SECONDS, grace / 4)
        if self._drain_deadline is None:
            self._drain_deadline = time.monotonic() + grace
            asyncio.get_running_loop().call_later(grace, self._cancel_answers)
        return max(0.0, self._drain_deadline - time.monotonic())

    def _cancel_answers(self) -> None:
        for task in self._answer_tasks:
            if not task.cancelling():
                task.cancel("shutdown")

    async def drain_and_stop(self) -> None:
        """Drain, cut off responses that do not end, and write their last events."""
        left = self.start_draining()
        if self._answer_tasks:
            await asyncio.wait(self._answer_tasks, timeout=left)
        self._cancel_answers()
        await asyncio.gather(*self._answer_tasks, *self._stop_tasks, return_exceptions=True)
        await self.write_pending_events()


async def write_acceptable_events(events_by_turn: Sequence[tuple[UUID, list[Event]]]) -> None:
    """Write events; a response whose events the database refuses is left out."""
    try:
        await HOUSEKEEPING.run_work(event_log.write_event_batches, events_by_turn)
    except (DataError, TypeError, ValueError) as error:
        if len(events_by_turn) == 1:
            logger.warning("events of a response in the background cannot be written: %s", error)
            return
        for one in events_by_turn:
            await write_acceptable_events([one])


async def feed_answer_events(
    feed: Feed, trace: Trace, batches: Batches, events: ResponseEvents
) -> None:
    """Add the events of the answer to the feed, up to its end."""
    try:
        async with aclosing(batches):
            async for _ in batches:
                feed.add_events(events.make_new_events())
        feed.add_events(events.make_final_events(render_usage(trace.meter.counted)))
    except GatewayError as error:
        feed.add_events(events.make_failure_events(error))
    except asyncio.CancelledError as cancelled:
        if cancelled.args:  # the server shuts down; the written turn has the same error
            usage = render_usage(trace.meter.counted)
            feed.add_events(
                events.make_failure_events(ShuttingDown(SHUT_DOWN_ERROR["message"]), usage)
            )
        else:
            feed.add_events(await wait_for_final_events(feed, events))
        raise
    except Exception:
        feed.add_events(events.make_failure_events(InternalError("Something went wrong here.")))
        raise
    finally:
        feed.add_events((), is_over=True)


async def wait_for_final_events(feed: Feed, events: ResponseEvents) -> list[Event]:
    """Return the final event of a stopped answer, made from its turn's row.

    There is none for a response that was deleted. When the row does not have the end within
    DATABASE_TIMEOUT_SECONDS, the event is a failure.
    """
    until = time.monotonic() + settings.DATABASE_TIMEOUT_SECONDS
    while time.monotonic() < until:
        with suppress(DatabaseUnavailable):
            found = await await_in_time(
                run_in_thread(
                    event_log.load_final_event, UUID(feed.turn_id), feed.next_event_number
                )
            )
            if found.is_over:
                return found.events
        await asyncio.sleep(ROW_POLL_SECONDS)
    return events.make_failure_events(
        DatabaseUnavailable("The end of the answer could not be written.")
    )


async def cancel_when_requested(feed: Feed, answer_task: "asyncio.Task[None]") -> None:
    """Cancel the answer when somebody asks for its end."""
    with suppress(asyncio.CancelledError):
        await feed.stop_requested.wait()
        if not answer_task.cancelling():
            answer_task.cancel()
