"""One turn on the WebSocket of /v1/responses: a request of its own, with limits and records.

Its events are those of the stream of a POST. Before the first of them a failure is an error event
with the HTTP status that a POST would have.
"""

import copy
import io
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from django.db import Error as AnyDatabaseError
from msgspec import structs

from api import exceptions
from api.authentication import Caller
from api.error_headers import error_headers
from api.relay.gateway import Gateway
from api.relay.lean_request import LeanRequest, new_request_id
from api.relay.pipeline import resolve_model
from api.responses.output.events import ResponseEvents
from api.responses.output.objects import build_response_head
from api.responses.output.part_events import Event
from api.responses.output.renderer import EventRenderer
from api.schemas.default_model import read_with_default_model
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.views.responses.create_response import StartedResponse, start_response
from api.views.responses.input_references import resolve_references
from api.views.responses.response_turns import EarlierItems, ReceivedBody, build_turn_request
from api.views.responses.socket.client_events import read_create_event, split_event
from api.views.responses.socket.local_responses import Lane, LocalResponse, LocalResponses
from conversations.history.turn_request import TurnRequest
from conversations.messages.answer_builder import CollectedAnswer
from providers.exceptions import (
    GatewayError,
    InternalError,
    InvalidRequest,
    Saturated,
)
from providers.fast_settings import settings
from providers.protocol.json_types import JsonObject

logger = logging.getLogger(__name__)

SendTexts = Callable[[list[bytes]], Awaitable[None]]
PREVIOUS_NOT_FOUND = "previous_response_not_found"


class ConnectionLost(Exception):
    """The connection has ended, so that nothing can be sent any more."""


class SocketRequest(LeanRequest):
    """The request of a handshake, or of one turn after it."""

    def start_turn(self) -> "SocketRequest":
        """Return the request of a new turn: the same headers, and an id of its own."""
        request = copy.copy(self)
        request.request_id = new_request_id()
        request.caller = None
        return request

    def release_resources(self) -> None:
        """Give back the request's place among those of its API key."""
        self.release_key_place()
        self.caller = None


def build_socket_request(scope: dict[str, Any], gateway: Gateway) -> SocketRequest:
    """Return the request of the handshake as if it were a POST to the same address."""
    request = SocketRequest({**scope, "type": "http", "method": "POST"}, io.BytesIO())
    request.gateway = gateway
    request.request_id = new_request_id()
    return request


class SocketTurn:
    """One turn: its events go to `send_texts`, its response to `local_responses`."""

    def __init__(
        self,
        request: SocketRequest,
        lane: Lane,
        local_responses: LocalResponses,
        send_texts: SendTexts,
    ) -> None:
        self._request = request
        self._lane = lane
        self._local_responses = local_responses
        self._send_texts = send_texts
        self._previous_id = ""
        self._size_bytes = 0  # of the event and what it follows
        self._is_over = False
        self._started: StartedResponse | None = None
        self._renderer: EventRenderer | None = None  # set when events were sent

    async def answer_event(self, raw: bytes) -> None:
        """Answer one event; failures are sent, too.

        Writes the usage record, and the turn when the response is to be remembered. Raises
        ConnectionLost.
        """
        gateway = self._request.gateway
        gateway.requests_in_flight += 1
        try:
            if gateway.requests_in_flight > settings.REQUESTS_IN_FLIGHT:
                raise Saturated("Too many requests are running.", retry_after_seconds=1)
            await self._answer(raw)
        except (GatewayError, AnyDatabaseError) as error:
            await self.send_failure(exceptions.as_gateway_error(error) or explain_fault())
        except ConnectionLost:
            raise
        except Exception:  # the last resort: nothing above answers the caller
            logger.exception("a turn on a WebSocket failed by a fault of ours")
            await self.send_failure(explain_fault())
        finally:
            gateway.requests_in_flight -= 1
            self._request.release_resources()

    async def send_failure(self, error: GatewayError) -> None:
        """Send the end of a turn that failed, and forget the response that it would follow.

        Nothing is sent after it.
        """
        self._local_responses.evict_response(self._previous_id)
        if self._started is not None:
            self._started.positions.rename_param(error)
        if self._renderer is not None:
            await self._send_events(self._renderer.make_failure_events(error))
        else:
            await self._send_events([make_error_event(error, self._request.request_id)])
        self._is_over = True

    async def _answer(self, raw: bytes) -> None:
        """Answer a valid event. Raises GatewayError, DatabaseError, ConnectionLost."""
        start_time = time.monotonic()
        request = self._request
        request.gateway.ledger.require_available()
        caller = await request.authenticate()
        read_event = partial(read_with_default_model, read_create_event, caller.default_model)
        turn_body = split_event(await read_beside_loop(read_event, raw))
        earlier = self._find_earlier(caller, turn_body.body)
        self._size_bytes += len(raw)
        received = ReceivedBody(turn_body.body, self._size_bytes, start_time, earlier)
        if turn_body.is_generated:
            self._started = await start_response(request, caller, received)
            await self._send_response(self._started)
        else:
            await self._prepare_response(caller, received)

    def _find_earlier(self, caller: Caller, body: JsonObject) -> EarlierItems | None:
        """Return the items that the connection remembers of the response that the turn follows.

        Raises InvalidRequest when it is neither here nor stored.
        """
        self._previous_id = body.get("previous_response_id") or ""
        if not self._previous_id:
            return None
        local = self._local_responses.find_response(self._previous_id)
        if local is not None:
            self._size_bytes = local.size_bytes
            return local.items
        if not caller.can_store:
            raise InvalidRequest(
                f"There is no response {self._previous_id[:64]!r}.",
                param="previous_response_id",
                code=PREVIOUS_NOT_FOUND,
            )
        return None

    async def _send_response(self, started: StartedResponse) -> None:
        """Send the events of a response, and remember it if it is not stored."""
        renderer = started.make_renderer()
        async with aclosing(started.answer.batches) as batches:
            async for batch in batches:
                if events := renderer.make_batch_events(batch):
                    await self._send_events(events)
                    self._renderer = renderer
        last_events = renderer.make_end_events()
        self._remember(started.accepted.turn_request, renderer.answer)
        await self._send_events(last_events)

    async def _prepare_response(self, caller: Caller, received: ReceivedBody) -> None:
        """Answer a turn that is not to be generated: its items are remembered, no model is asked.

        The response is completed and empty. Nothing is stored.
        """
        request = self._request
        model = resolve_model(request.gateway, caller, received.body["model"])
        caller.reject_model_choice(received.body)
        body = await resolve_references(caller, received.body)
        received = replace(received, body=body)
        build_turn = partial(
            build_turn_request, request.gateway, caller, request.request_id, received, model
        )
        turn_request = await call_beside_loop(received.size_bytes, build_turn)
        turn_request = replace(turn_request, stored=False)
        head = build_response_head(
            body,
            turn_request.request_id,
            int(time.time()),
            stored=False,
            tool_names=turn_request.tool_names,
        )
        answer = CollectedAnswer(turn_request.request_id, turn_request.tool_names)
        self._remember(turn_request, answer)
        await self._send_events(ResponseEvents(head, answer).make_final_events(None))

    def _remember(self, turn_request: TurnRequest, answer: CollectedAnswer) -> None:
        """Remember the response for the next turn of this connection, unless it is stored."""
        response = None
        if not turn_request.stored and not turn_request.conversation_id:
            output = [structs.replace(entry, output=False) for entry in answer.make_entries()]
            items = EarlierItems(turn_request.previous_id, [*turn_request.entries, *output])
            response = LocalResponse(items, self._size_bytes + answer.size_bytes)
        response_id = f"resp_{turn_request.request_id}"
        self._local_responses.advance_lane(self._lane, response_id, response)

    async def _send_events(self, events: list[Event]) -> None:
        """Send events of the turn, with its lane; none after its end."""
        if self._is_over:
            return
        if self._lane is not None:
            for event in events:
                event["stream_id"] = self._lane
        await self._send_texts([orjson.dumps(event) for event in events])


def make_error_event(error: GatewayError, request_id: str) -> Event:
    """Return the event of an error before the first event of a response.

    It has the status and the headers that a POST would have had. Source: OpenAI's guide "WebSocket
    mode"; Codex reads the headers.
    """
    if error.shown_code == PREVIOUS_NOT_FOUND:  # which is a 404 for a POST
        error = InvalidRequest(error.message, param=error.param, code=PREVIOUS_NOT_FOUND)
    return {
        "type": "error",
        "status": error.shown_status,
        **exceptions.error_body(error),
        "headers": {**error_headers(error), "x-request-id": request_id},
    }


def explain_fault() -> InternalError:
    """Return the error for a fault of ours."""
    return InternalError("Something went wrong here.")
