"""One WebSocket on /v1/responses after its handshake: its lanes of turns, and its end.

The key is checked at the handshake and again by each turn. The turns of a lane (`stream_id`) run
one after the other, those of different lanes at the same time. The memory of a connection ends with
it. Source: OpenAI's guide "WebSocket mode".
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from api.views.responses.socket.client_events import read_lane
from api.views.responses.socket.local_responses import Lane, LocalResponses
from api.views.responses.socket.socket_turn import (
    ConnectionLost,
    SocketRequest,
    SocketTurn,
)
from providers.exceptions import GatewayError, InvalidRequest, KeyLimitExceeded, ShuttingDown
from providers.fast_settings import settings

Message = Mapping[str, Any]  # an ASGI message
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Any], Awaitable[None]]

# type of a message with many texts, for a server that takes it (its scopes have this extension)
SEND_TEXTS = "proxysite.send_texts"
UNCOUNTED_BYTES = 65_536  # nearly all events are smaller, as are nearly all bodies
CLOSE_GOING_AWAY = 1001  # the end of a connection's life
CLOSE_TOO_BIG = 1009
CLOSE_RESTART = 1012  # the server restarts


class MemoryShare(Protocol):
    """The memory of one event, among that of all bodies of the process."""

    def reserve_memory(self, size_bytes: int) -> None: ...
    def release_bytes(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event as it came; a large one holds a share of the memory for bodies."""

    raw: bytes
    share: MemoryShare | None


class ResponseSocket:
    """One connection after its handshake; `open_share` opens a share of the caller.

    `waiting_events` has the events that wait in each lane for the running turn's end.
    """

    def __init__(
        self,
        request: SocketRequest,
        send: Send,
        open_share: Callable[[], MemoryShare],
        *,
        sends_many: bool,
    ) -> None:
        self._request = request
        self._send = send
        self._open_share = open_share
        self._sends_many = sends_many
        self._local_responses = LocalResponses(request.gateway.response_sockets)
        self._running_places = asyncio.Semaphore(settings.RESPONSE_SOCKET_RUNNING_TURNS)
        self._waiting_events: dict[Lane, deque[WaitingEvent]] = {}
        self._lane_tasks: dict[Lane, asyncio.Task[None]] = {}
        self._running_turns: dict[Lane, SocketTurn] = {}
        self._opened_at = time.monotonic()
        self._active_at = self._opened_at
        self._is_drained = asyncio.Event()

    def begin_drain(self) -> None:
        """End after the running turns: the server is shutting down."""
        self._is_drained.set()

    async def serve(self, receive: Receive) -> None:
        """Answer events until the connection ends, or the server does not wait any longer."""
        drained = asyncio.create_task(self._is_drained.wait())
        try:
            await self._receive_events(receive, drained)
            await self._end_gracefully(is_drained=self._is_drained.is_set())
            await self._end_turns()
        except ConnectionLost:
            await self._end_turns()
        except asyncio.CancelledError:  # the time for the shutdown is over; nobody awaits this task
            await self._fail_turns()
        finally:
            drained.cancel()
            self._drop_waiting_events()
            self._local_responses.clear()

    async def _receive_events(self, receive: Receive, drained: "asyncio.Task[bool]") -> None:
        """Give each event to its lane, until the connection is to be closed.

        Raises ConnectionLost when the client has closed it.
        """
        while (message := await self._receive_message(receive, drained)) is not None:
            if message["type"] == "websocket.disconnect":
                raise ConnectionLost
            self._active_at = time.monotonic()
            raw = message.get("bytes") or (message.get("text") or "").encode()
            if len(raw) > settings.RESPONSE_SOCKET_MESSAGE_BYTES:
                await self._send_message({"type": "websocket.close", "code": CLOSE_TOO_BIG})
                raise ConnectionLost
            await self._add_event(raw)

    async def _receive_message(
        self, receive: Receive, drained: "asyncio.Task[bool]"
    ) -> Message | None:
        """Return the next message; None when the connection is to be closed before one comes."""
        receiving = asyncio.ensure_future(receive())
        try:
            while not receiving.done():
                wait_seconds = self._find_wait_seconds()
                if wait_seconds <= 0 or drained.done():
                    return None
                await asyncio.wait(
                    (receiving, drained),
                    timeout=wait_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            receiving.cancel()
        return receiving.result()

    def _find_wait_seconds(self) -> float:
        """Return how long to wait for the next event; not more than 0 when the time is over."""
        now = time.monotonic()
        until_limit = self._opened_at + settings.RESPONSE_SOCKET_SECONDS - now
        until_idle = self._active_at + settings.RESPONSE_SOCKET_IDLE_SECONDS - now
        if self._lane_tasks:
            until_idle = settings.RESPONSE_SOCKET_IDLE_SECONDS
        return float(min(until_limit, until_idle))

    async def _add_event(self, raw: bytes) -> None:
        """Add an event to its lane, or send why it is not taken."""
        lane: Lane = None
        try:
            lane = read_lane(raw)
            self._require_room(lane)
            event = self._hold_event(raw)
        except GatewayError as error:
            await self._make_turn(lane).send_failure(error)
            return
        self._waiting_events.setdefault(lane, deque()).append(event)
        if lane not in self._lane_tasks:
            self._lane_tasks[lane] = asyncio.create_task(self._run_lane(lane))

    def _hold_event(self, raw: bytes) -> WaitingEvent:
        """Return the event with its share of the memory. Raises Saturated, KeyLimitExceeded."""
        if len(raw) <= UNCOUNTED_BYTES:
            return WaitingEvent(raw, None)
        share = self._open_share()
        share.reserve_memory(len(raw))
        return WaitingEvent(raw, share)

    def _require_room(self, lane: Lane) -> None:
        """Raise InvalidRequest or KeyLimitExceeded unless the lane can take one more event."""
        most_lanes = settings.RESPONSE_SOCKET_LANES
        named_count = len(self._waiting_events.keys() - {None})
        if lane is not None and lane not in self._waiting_events and named_count >= most_lanes:
            raise InvalidRequest(
                f"This WebSocket has had {most_lanes} different stream_id values, which is the "
                "most. Use one of them, or open another WebSocket.",
                param="stream_id",
                code="websocket_stream_limit_reached",
            )
        waiting = [event.raw for events in self._waiting_events.values() for event in events]
        if (
            len(waiting) >= settings.RESPONSE_SOCKET_WAITING_TURNS
            or sum(map(len, waiting)) > settings.RESPONSE_SOCKET_MESSAGE_BYTES
        ):
            raise KeyLimitExceeded("Too many turns wait on this WebSocket.", retry_after_seconds=1)

    async def _run_lane(self, lane: Lane) -> None:
        """Answer the events of a lane, one after the other, until none waits."""
        waiting = self._waiting_events[lane]
        try:
            while waiting:
                async with self._running_places:
                    await self._run_turn(lane, waiting)
        except ConnectionLost:
            pass  # the reader of the events notices it, too
        finally:
            self._active_at = time.monotonic()
            del self._lane_tasks[lane]

    async def _run_turn(self, lane: Lane, waiting: deque[WaitingEvent]) -> None:
        """Answer the first event that waits in a lane."""
        if not waiting:  # it was refused meanwhile
            return
        event = waiting.popleft()
        turn = self._running_turns[lane] = self._make_turn(lane)
        try:
            await turn.answer_event(event.raw)
        finally:
            del self._running_turns[lane]
            release_event(event)

    def _make_turn(self, lane: Lane) -> SocketTurn:
        request = self._request.start_turn()
        return SocketTurn(request, lane, self._local_responses, self._send_texts)

    async def _end_gracefully(self, *, is_drained: bool) -> None:
        """Refuse what waits, let the running turns end, then close the connection.

        A connection that was idle is closed without a word.
        """
        error: GatewayError = connection_limit_error()
        if is_drained:
            error = ShuttingDown("The server is shutting down.", retry_after_seconds=1)
        for lane, waiting in self._waiting_events.items():
            for _ in range(len(waiting)):
                release_event(waiting.pop())
                await self._make_turn(lane).send_failure(error)
        if self._lane_tasks:
            await asyncio.wait(self._lane_tasks.values())
        is_old = time.monotonic() - self._opened_at >= settings.RESPONSE_SOCKET_SECONDS
        if is_old and not is_drained:
            await self._make_turn(None).send_failure(error)
        await self._send_message(
            {"type": "websocket.close", "code": CLOSE_RESTART if is_drained else CLOSE_GOING_AWAY}
        )

    async def _end_turns(self) -> None:
        """Cancel the turns that still run, and wait for their records."""
        self._drop_waiting_events()
        tasks = list(self._lane_tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fail_turns(self) -> None:
        """Tell the client that its turns end with the server, and cancel them."""
        self._drop_waiting_events()
        try:
            for turn in self._running_turns.values():
                await turn.send_failure(ShuttingDown("The server is shutting down."))
            await self._send_message({"type": "websocket.close", "code": CLOSE_RESTART})
        except ConnectionLost:
            pass
        for task in self._lane_tasks.values():
            task.cancel()

    def _drop_waiting_events(self) -> None:
        """Drop the events that wait in all lanes, and release their memory."""
        for waiting in self._waiting_events.values():
            while waiting:
                release_event(waiting.pop())

    async def _send_texts(self, texts: list[bytes]) -> None:
        """Send each text as a message. Raises ConnectionLost when the client has left."""
        if self._sends_many:
            await self._send_message({"type": SEND_TEXTS, "texts": texts})
            return
        for text in texts:
            await self._send_message({"type": "websocket.send", "text": text.decode()})

    async def _send_message(self, message: Message) -> None:
        """Send a message. Raises ConnectionLost when the client has left."""
        try:
            await self._send(message)
        except OSError:
            raise ConnectionLost from None


def release_event(event: WaitingEvent) -> None:
    """Give back the memory of an event that has been answered or dropped."""
    if event.share is not None:
        event.share.release_bytes()


def connection_limit_error() -> InvalidRequest:
    """Return the error with which a connection ends that is too old."""
    return InvalidRequest(
        "This WebSocket has reached its time limit. Open another one to go on.",
        code="websocket_connection_limit_reached",
    )
