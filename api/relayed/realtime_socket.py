"""The WebSocket of a caller who has a session of the Realtime API.

A session is one request: it is authenticated, limited and recorded like any other, and ends when
either side closes. Until it is accepted, an error is an HTTP answer with its status.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

import orjson

from api import exceptions
from api.relay.client_names import name_client
from api.relay.gateway import Gateway
from api.relay.handshake_refusal import refuse_handshake
from api.relay.lean_request import LeanRequest, new_request_id
from api.relay.pipeline import AcceptedRequest, StartedAnswer, resolve_model, start_answer
from api.schemas.json_body import missing_parameter_error
from providers.exceptions import (
    CallerError,
    GatewayError,
    InvalidRequest,
    Saturated,
    ShuttingDown,
)
from providers.fast_settings import settings
from providers.protocol.chunks import Batches
from providers.protocol.relayed_request import CONNECTION, CONTENT, REALTIME
from providers.protocol.request import ChatRequest
from providers.relayed.realtime_session import RealtimeConnection

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."  # of browsers, which can send no header
KEY_HEADER = "HTTP_API_KEY"  # where the key of a subprotocol is read from
QUERY_FIELDS = ("model", "intent")
# headers that go on to the upstream
PASSED_HEADERS = {
    "HTTP_OPENAI_BETA": "OpenAI-Beta",
    "HTTP_OPENAI_SAFETY_IDENTIFIER": "OpenAI-Safety-Identifier",
}
CLOSED_NORMALLY = 1000
CLOSED_GOING_AWAY = 1001  # the server is shutting down
CLOSED_BY_FAILURE = 1011


async def serve_session(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket, from its handshake to its end. Writes the usage record."""
    await receive()  # the handshake
    request = make_request(gateway, scope)
    gateway.requests_in_flight += 1
    try:
        answer = await open_session(request)
        async with aclosing(answer.batches) as batches:
            first = (await anext(batches))[0]
            protocol = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
            await send({"type": "websocket.accept", "subprotocol": protocol})
            await relay_messages(batches, first[CONNECTION], receive, send)
    except GatewayError as error:
        await refuse_handshake(error, request.request_id, scope, send)
    finally:
        gateway.requests_in_flight -= 1
        request.release_key_place()


def make_request(gateway: Gateway, scope: Scope) -> LeanRequest:
    """Return the handshake as a request; the key may stand in a subprotocol.

    One beside another key in a header makes two, which are refused.
    """
    request = LeanRequest({**scope, "type": "http", "method": "GET"}, io.BytesIO())
    request.gateway = gateway
    request.request_id = new_request_id()
    for protocol in scope["subprotocols"]:
        if protocol.startswith(KEY_SUBPROTOCOL):
            key = protocol.removeprefix(KEY_SUBPROTOCOL)
            request.META.setdefault(KEY_HEADER, key)
    return request


async def open_session(request: LeanRequest) -> StartedAnswer:
    """Accept a session and return its answer, which has not begun. Raises GatewayError."""
    gateway = request.gateway
    if gateway.is_draining:
        raise ShuttingDown("The server is shutting down.", retry_after_seconds=1)
    if gateway.requests_in_flight > settings.REQUESTS_IN_FLIGHT:  # this one is among them
        raise Saturated("Too many requests are running.", retry_after_seconds=1)
    gateway.ledger.require_available()
    caller = await request.authenticate()
    query = read_query(request)
    name = query.pop("model", None) or caller.default_model
    if not name:
        raise missing_parameter_error("model")
    model = resolve_model(gateway, caller, name)
    headers = {
        header: request.META[key] for key, header in PASSED_HEADERS.items() if key in request.META
    }
    chat_request = ChatRequest(
        id=request.request_id.removeprefix("req_"),
        endpoint=REALTIME,
        model=name,
        body={"query": query, "headers": headers},
        stream=True,
    )
    client = name_client(request.META)
    accepted = AcceptedRequest(caller, chat_request, model, 0, client=client)
    return await start_answer(gateway, accepted)


def read_query(request: LeanRequest) -> dict[str, str]:
    """Return the parameters of the address. Raises InvalidRequest for one that is not known."""
    query = dict(parse_qsl(request.META.get("QUERY_STRING", "")))
    for name in query:
        if name not in QUERY_FIELDS:
            raise InvalidRequest(
                f"The parameter {name!r} is not known here.", param=name, code="unknown_parameter"
            )
    return query


async def relay_messages(
    batches: Batches, connection: RealtimeConnection, receive: Receive, send: Send
) -> None:
    """Pass messages on in both directions until one side ends the session."""
    reading = asyncio.create_task(pass_callers_messages(connection, receive, send))
    code = CLOSED_NORMALLY
    try:
        await pass_upstreams_messages(batches, reading, send)
    except GatewayError as error:
        code = CLOSED_BY_FAILURE
        if not reading.done():
            await send_message(orjson.dumps(make_error_event(error)).decode(), send)
    except asyncio.CancelledError:
        if not reading.done():
            await send({"type": "websocket.close", "code": CLOSED_GOING_AWAY})
        raise
    finally:
        has_left = reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    if not has_left:
        await send({"type": "websocket.close", "code": code})


async def pass_callers_messages(
    connection: RealtimeConnection, receive: Receive, send: Send
) -> None:
    """Pass the caller's messages on until the caller leaves, and end the session then.

    A message that cannot be read is answered with an error, and the session goes on.
    """
    while (message := await receive())["type"] != "websocket.disconnect":
        text = message.get("text")
        try:
            await connection.send_message(text if text is not None else message["bytes"])
        except CallerError as error:
            await send_message(orjson.dumps(make_error_event(error)).decode(), send)
    await connection.close()


async def pass_upstreams_messages(
    batches: Batches, reading: "asyncio.Task[None]", send: Send
) -> None:
    """Pass the upstream's messages on; drop them once `reading` is done: the caller has left."""
    async for batch in batches:
        for chunk in batch:
            if not reading.done():
                await send_message(chunk[CONTENT], send)


async def send_message(message: str | bytes, send: Send) -> None:
    """Send a message of the upstream to the caller."""
    kind = "text" if isinstance(message, str) else "bytes"
    await send({"type": "websocket.send", kind: message})


def make_error_event(error: GatewayError) -> dict[str, Any]:
    """Return the event of an error, in the form of the Realtime API."""
    return {"type": "error", **exceptions.error_body(error)}
