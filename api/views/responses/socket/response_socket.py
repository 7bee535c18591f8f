"""One WebSocket on /v1/responses: its handshake, its lanes of turns, and its end.

The key is checked at the handshake and again by each turn. The turns of a lane (`stream_id`) run
one after the other, those of different lanes at the same time. What the connection remembers ends
with it. Source: OpenAI's guide "WebSocket mode".
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from api import exceptions
from api.authentication import Caller
from api.relay.gateway import Gateway
from api.relay.lean_request import new_request_id
from api.views.responses.socket.client_events import read_lane
from api.views.responses.socket.local_responses import Lane, LocalResponses
from api.views.responses.socket.socket_turn import (
    ConnectionLost,
    SocketRequest,
    SocketTurn,
    build_socket_request,
)
from providers.exceptions import (
    GatewayError,
    InvalidRequest,
    KeyLimitExceeded,
    ShuttingDown,
    UpgradeRequired,
)
from providers.fast_settings import settings

Message = dict[str, Any]  # an ASGI message
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# type of a message with many texts, for a server that takes it (its scopes have this extension)
SEND_TEXTS = "proxysite.send_texts"
HTTP_ANSWER = "websocket.http.response"
CLOSE_GOING_AWAY = 1001  # the end of a connection's life
CLOSE_RESTART = 1012  # the server restarts
NOT_SERVED = "There is no WebSocket at this address: send plain HTTP requests."


class ResponseSocket:
    """One connection after its handshake.

    `waiting_events` has the events that wait in each lane for the running turn's end.
    """

    def __init__(self, request: SocketRequest, send: Send, *, sends_many: bool) -> None:
        self._request = request
        self._send = send
        self._sends_many = sends_many
        self._local_responses = LocalResponses(request.gateway.response_sockets)
        self._running_places = asyncio.Semaphore(settings.RESPONSE_SOCKET_RUNNING_TURNS)
        self._waiting_events: dict[Lane, deque[bytes]] = {}
        self._lane_tasks: dict[Lane, asyncio.Task[None]] = {}
        self._opened_at = time.monotonic()
        self._active_at = self._opened_at
        self._is_drained = asyncio.Event()

    def begin_drain(self) -> None:
        """End after the running turns: the server is shutting down."""
        self._is_drained.set()

    async def serve(self, receive: Receive) -> None:
        """Answer events until the connection ends.

        Raises CancelledError when the server does not wait any longer.
        """
        drained = asyncio.create_task(self._is_drained.wait())
        try:
            await self._receive_events(receive, drained)
            await self._end_gracefully(is_drained=drained.done())
        except ConnectionLost:
            pass
        except asyncio.CancelledError as cancelled:
            await self._cancel_turns(*cancelled.args)
            raise
        finally:
            drained.cancel()
            await self._cancel_turns()
            self._local_responses.clear()

    async def _receive_events(self, receive: Receive, drained: "asyncio.Task[bool]") -> None:
        """Give each event to its lane, until the connection is to be closed.

        Raises ConnectionLost when the client has closed it.
        """
        while True:
            receiving = asyncio.ensure_future(receive())
            try:
                while not receiving.done():
                    wait_seconds = self._find_wait_seconds()
                    if wait_seconds <= 0 or drained.done():
                        return
                    await asyncio.wait(
                        (receiving, drained),
                        timeout=wait_seconds,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
            finally:
                receiving.cancel()
            message = receiving.result()
            if message["type"] == "websocket.disconnect":
                raise ConnectionLost
            self._active_at = time.monotonic()
            await self._add_event(message.get("bytes") or (message.get("text") or "").encode())

    def _find_wait_seconds(self) -> float:
        """Return how long to wait for the next event; not more than 0 when the time is over."""
        now = time.monotonic()
        until_limit = self._opened_at + settings.RESPONSE_SOCKET_SECONDS - now
        until_idle = self._active_at + settings.RESPONSE_SOCKET_IDLE_SECONDS - now
        if self._lane_tasks:
            until_idle = settings.RESPONSE_SOCKET_IDLE_SECONDS
        return min(until_limit, until_idle)

    async def _add_event(self, raw: bytes) -> None:
        """Add an event to its lane, or send why it is not taken."""
        lane: Lane = None
        try:
            lane = read_lane(raw)
            self._require_room(lane)
        except GatewayError as error:
            await self._make_turn(lane).send_failure(error)
            return
        self._waiting_events.setdefault(lane, deque()).append(raw)
        if lane not in self._lane_tasks:
            self._lane_tasks[lane] = asyncio.create_task(self._run_lane(lane))

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
        most_waiting = settings.RESPONSE_SOCKET_WAITING_TURNS
        if sum(map(len, self._waiting_events.values())) >= most_waiting:
            raise KeyLimitExceeded(
                f"{most_waiting} turns wait on this WebSocket, which is the most.",
                retry_after_seconds=1,
            )

    async def _run_lane(self, lane: Lane) -> None:
        """Answer the events of a lane, one after the other, until none waits."""
        waiting = self._waiting_events[lane]
        try:
            while waiting:
                async with self._running_places:
                    await self._make_turn(lane).answer_event(waiting.popleft())
        except ConnectionLost:
            pass  # the reader of the events notices it, too
        finally:
            self._active_at = time.monotonic()
            del self._lane_tasks[lane]

    def _make_turn(self, lane: Lane) -> SocketTurn:
        request = self._request.start_turn()
        return SocketTurn(request, lane, self._local_responses, self._send_texts)

    async def _end_gracefully(self, *, is_drained: bool) -> None:
        """Refuse what waits, let the running turns end, then close the connection."""
        error: GatewayError = connection_limit_error()
        if is_drained:
            error = ShuttingDown("The server is shutting down.", retry_after_seconds=1)
        for lane, waiting in self._waiting_events.items():
            for _ in range(len(waiting)):
                waiting.pop()
                await self._make_turn(lane).send_failure(error)
        if self._lane_tasks:
            await asyncio.wait(self._lane_tasks.values())
        if not is_drained:
            await self._make_turn(None).send_failure(error)
        await self._send_message(
            {"type": "websocket.close", "code": CLOSE_RESTART if is_drained else CLOSE_GOING_AWAY}
        )

    async def _cancel_turns(self, *reason: object) -> None:
        """Cancel the running turns and wait for their ends; a reason is sent to the client."""
        tasks = list(self._lane_tasks.values())
        for waiting in self._waiting_events.values():
            waiting.clear()
        for task in tasks:
            task.cancel(*reason)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_texts(self, texts: list[bytes]) -> None:
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


def connection_limit_error() -> InvalidRequest:
    """Return the error with which a connection ends that is too old, or was idle too long."""
    return InvalidRequest(
        "This WebSocket has reached its time limit. Open another one to go on.",
        code="websocket_connection_limit_reached",
    )


# --- the handshake --------------------------------------------------------------------------------
async def serve_response_socket(
    scope: dict[str, Any], receive: Receive, send: Send, gateway: Gateway | None
) -> None:
    """Serve one WebSocket: check its key, accept it, and answer its events until it ends."""
    await receive()  # the wish to connect
    extensions = scope.get("extensions") or {}
    request_id = new_request_id()
    try:
        if gateway is None or gateway.is_draining:
            raise ShuttingDown("The server is not ready.", retry_after_seconds=1)
        request = build_socket_request(scope, gateway)
        request_id = request.request_id
        caller = await authenticate_handshake(request)
        socket = ResponseSocket(request, send, sends_many=SEND_TEXTS in extensions)
        with gateway.response_sockets.hold_place(caller.key_id, socket.begin_drain):
            await send({"type": "websocket.accept", "headers": list_accept_headers(request_id)})
            await socket.serve(receive)
    except GatewayError as error:
        await refuse_handshake(error, request_id, send, has_answers=HTTP_ANSWER in extensions)


async def authenticate_handshake(request: SocketRequest) -> Caller:
    """Return the caller whose key the handshake carries.

    Raises UpgradeRequired where WebSockets are switched off, and what `authenticate` raises.
    """
    if not settings.RESPONSE_SOCKETS:
        raise UpgradeRequired(NOT_SERVED)
    try:
        return await request.authenticate()
    finally:
        request.release_resources()


def list_accept_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an accepted handshake."""
    return [(b"x-request-id", request_id.encode("ascii")), (b"openai-version", b"2020-10-01")]


async def refuse_handshake(
    error: GatewayError, request_id: str, send: Send, *, has_answers: bool
) -> None:
    """Answer a handshake with an HTTP error; a server without such answers sends a 403."""
    if not has_answers:
        await send({"type": "websocket.close"})
        return
    answer = exceptions.render_error(error, request_id)
    headers = [
        (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in answer.items()
    ]
    await send(
        {"type": f"{HTTP_ANSWER}.start", "status": answer.status_code, "headers": headers}
    )
    await send({"type": f"{HTTP_ANSWER}.body", "body": answer.content})
