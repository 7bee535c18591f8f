"""The newest events of one response, and those who listen to them in this process."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar
from uuid import UUID

import orjson

from api.responses.background import event_log
from api.responses.output.part_events import Event
from conversations.messages.items import replace_unstorable
from providers.database.database_threads import await_in_time, run_in_thread
from providers.exceptions import DatabaseUnavailable, GatewayError

P = ParamSpec("P")
T = TypeVar("T")
DATABASE_RETRY_SECONDS = 0.5  # pause before the database is tried again
DATABASE_WAIT_SECONDS = 30.0  # how long listeners wait for a database that is away


@dataclass(slots=True)
class Feed:
    """The newest events of one response; all before the number `first_number` are rows.

    `stop_requested` is set when somebody asks for its end. `error` says why no more events come
    here, though more may come in another process.
    """

    turn_id: str
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
        """Add events, or the end of the events, and wake the listeners."""
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
        next_number = after_number + 1
        while True:
            change_signal = self._change_signal
            if next_number < self.next_event_number:
                events, next_number = await self._read_events(next_number)
                yield events
            elif self.error is not None:
                raise self.error
            elif self.is_over:
                return
            elif not await wait_for_signal(change_signal, quiet_seconds):
                yield []

    async def _read_events(self, first_number: int) -> tuple[list[Event], int]:
        """Return the events from a number on, and the number after them.

        Events that are no longer in memory, for a listener that came late or reads slowly, are
        read from their rows.
        """
        if first_number >= self.first_number:
            return self.events[first_number - self.first_number :], self.next_event_number
        number_in_memory = self.first_number
        events = await query_with_retries(
            event_log.load_events_from, UUID(self.turn_id), first_number
        )
        if not events:
            return [], number_in_memory
        return events, events[-1]["sequence_number"] + 1


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
    """Return the database's answer, trying again for DATABASE_WAIT_SECONDS while it is away.

    Raises DatabaseUnavailable.
    """
    deadline = time.monotonic() + DATABASE_WAIT_SECONDS
    while True:
        try:
            return await await_in_time(run_in_thread(query, *args, **kwargs))
        except DatabaseUnavailable:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(DATABASE_RETRY_SECONDS)
