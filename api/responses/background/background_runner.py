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
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, DataError

from api.responses.background import event_log
from api.responses.background.feed import Feed
from api.responses.background.response_slots import ResponseSlot
from api.responses.output.events import ResponseEvents
from api.responses.output.objects import render_usage
from api.responses.output.part_events import Event
from conversations.history.turn_outcome import SHUT_DOWN_ERROR, OpenTurn
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

FLUSH_SECONDS = 0.1
ROW_POLL_SECONDS = 0.05  # pause between two looks at the row of a stopped answer
USER_RETRY_AFTER_SECONDS = 5  # retry-after for a user who has too many responses
CANCEL_MARGIN_SECONDS = 0.5  # before the grace is over, so that listeners still get the end


class BackgroundRunner:
    """The background responses of this process; `feeds` is keyed by turn id."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self._answer_tasks: set[asyncio.Task[None]] = set()
        self._stop_tasks: set[asyncio.Task[None]] = set()
        self._write_lock = asyncio.Lock()
        self._slots_by_user: dict[int, int] = {}  # taken places by user id
        self._loop: asyncio.AbstractEventLoop | None = None
        # while draining: the end of the grace, on the monotonic clock
        self._drain_deadline: float | None = None

    def reserve_response_slot(self, user_id: int, in_flight: int) -> ResponseSlot:
        """Take a place for one more response of the user, and return it.

        The caller has to free it. `in_flight` counts the running requests, with this one. Raises
        KeyLimitExceeded when the user has no place left; Saturated when there is no room beside
        the running responses and requests; ShuttingDown when the process begins no more responses.
        """
        if self._drain_deadline is not None:
            raise ShuttingDown("The server is shutting down.", retry_after_seconds=1)
        if len(self._answer_tasks) + in_flight > settings.REQUESTS_IN_FLIGHT:
            raise Saturated(
                "Too many responses are running in the background.", retry_after_seconds=1
            )
        limit = settings.BACKGROUND_PER_USER
        slot_count = self._slots_by_user.get(user_id, 0)
        if limit and slot_count >= limit:
            message = (
                f"You have {limit} responses running in the background; wait until some have ended."
            )
            raise KeyLimitExceeded(message, retry_after_seconds=USER_RETRY_AFTER_SECONDS)
        self._slots_by_user[user_id] = slot_count + 1
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
        answer_task = asyncio.create_task(feed_answer_events(feed, trace, batches, events))
        self._answer_tasks.add(answer_task)
        answer_task.add_done_callback(self._answer_tasks.discard)
        stop_task = asyncio.create_task(cancel_when_requested(feed, answer_task))
        self._stop_tasks.add(stop_task)
        stop_task.add_done_callback(self._stop_tasks.discard)
        answer_task.add_done_callback(lambda done: stop_task.cancel())
        for callback in end_callbacks:
            answer_task.add_done_callback(callback)
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
            snapshots = [
                (feed, feed.next_event_number, feed.is_over) for feed in self.feeds.values()
            ]
            pending = [
                (UUID(feed.turn_id), list(feed.events))
                for feed in self.feeds.values()
                if feed.events
            ]
            try:
                if pending:
                    await write_acceptable_events(pending)
            except DatabaseError as error:
                logger.warning(
                    "events of responses in the background are not written yet: %s", error
                )
                return
            for feed, next_event_number, was_over in snapshots:
                feed.drop_events(next_event_number)
                if was_over:
                    self.feeds.pop(feed.turn_id, None)

    # --- the end ----------------------------------------------------------------------------------
    def start_draining(self) -> float:
        """Begin no more responses, and cut off the running ones when the grace is over.

        Returns the seconds that are left: GRACE_SECONDS less a moment in which listeners get the
        end.
        """
        if self._drain_deadline is None:
            grace_seconds: float = settings.GRACE_SECONDS
            grace_seconds -= min(CANCEL_MARGIN_SECONDS, grace_seconds / 4)
            self._drain_deadline = time.monotonic() + grace_seconds
            asyncio.get_running_loop().call_later(grace_seconds, self._cancel_answers)
        return max(0.0, self._drain_deadline - time.monotonic())

    def _cancel_answers(self) -> None:
        for task in self._answer_tasks:
            if not task.cancelling():
                task.cancel("shutdown")

    async def drain_and_stop(self) -> None:
        """Drain, cut off responses that do not end, and write their last events."""
        seconds_left = self.start_draining()
        if self._answer_tasks:
            await asyncio.wait(self._answer_tasks, timeout=seconds_left)
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
        for turn_events in events_by_turn:
            await write_acceptable_events([turn_events])


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
    except Exception:  # a fault of ours: listeners get a failure, and it is raised again
        feed.add_events(events.make_failure_events(InternalError("Something went wrong here.")))
        raise
    finally:
        feed.add_events((), is_over=True)


async def wait_for_final_events(feed: Feed, events: ResponseEvents) -> list[Event]:
    """Return the final event of a stopped answer, made from its turn's row.

    There is none for a response that was deleted. When the row does not have the end within
    DATABASE_TIMEOUT_SECONDS, the event is a failure.
    """
    deadline = time.monotonic() + settings.DATABASE_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with suppress(DatabaseUnavailable):
            final = await await_in_time(
                run_in_thread(
                    event_log.load_final_event, UUID(feed.turn_id), feed.next_event_number
                )
            )
            if final.is_over:
                return final.events
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
