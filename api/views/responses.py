"""POST /v1/responses: a chat completion in the form of OpenAI's Responses API.

A response is stored unless the body or the API key says otherwise. In a conversation it is always
remembered. A response in the background runs on when the caller leaves. The caller gets its state
at once, or its events when it streams.
"""

import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import orjson
from django.conf import settings
from django.http import HttpResponseBase

from api.authentication import Caller
from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.relay import conversation_options, error_fields
from api.relay.gateway import Gateway, LeanRequest
from api.responses.background.feed import Feed
from api.responses.background.response_slots import ResponseSlot
from api.responses.output.echoed_fields import echo_fields
from api.responses.output.events import ResponseEvents
from api.responses.output.objects import (
    ResponseHead,
    ResponseOutcome,
    build_response_head,
    build_response_object,
)
from api.responses.output.part_events import Event
from api.responses.output.renderer import EventRenderer, render_event_lines
from api.responses.request import encrypted_reasoning, input_items, schema, to_chat
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.streaming.stream_answer import JsonAnswer, StreamAnswer
from api.views.base import require_json
from api.views.chat import (
    AnswerOptions,
    build_chat_request,
    render_answer,
    resolve_model,
    start_answer,
)
from conversations.history import start_turn
from conversations.history.conversation_lookup import TurnRequest
from conversations.history.recorder import RecalledTurn
from conversations.messages import items
from conversations.models import Conversation, Item, TurnEndpoint
from providers.catalogue import ResolvedModel
from providers.database.database_threads import TURNS, await_in_time
from providers.exceptions import GatewayError
from providers.protocol.chunks import Batches
from providers.protocol.request import CHAT

ENDPOINT_NAME = "responses"


async def create_response(request: LeanRequest) -> HttpResponseBase:
    """Answer one response request.

    Raises GatewayError.
    """
    gateway = request.gateway
    began = time.monotonic()
    gateway.ledger.require_available()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.receive_body()
    body = await read_beside_loop(schema.read_response_body, raw)
    asked_for = ReceivedRequest(body, len(raw), began)
    if not body.get("background"):
        return await answer_response_request(request, caller, asked_for, None)
    with gateway.background.reserve_response_slot(
        caller.user_id or 0, gateway.requests_in_flight
    ) as place:
        return await answer_response_request(request, caller, asked_for, place)


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request's body, its size in bytes, and the time when it came, on the monotonic clock."""

    body: dict[str, Any]
    size_bytes: int
    start_time: float


async def answer_response_request(
    request: LeanRequest,
    caller: Caller,
    received_request: ReceivedRequest,
    slot: ResponseSlot | None,
) -> HttpResponseBase:
    """Answer the request; in the background when it has a `slot` there.

    Writes the usage record, and the turn when the response is to be remembered. Raises
    GatewayError.
    """
    gateway = request.gateway
    body = received_request.body
    began = received_request.start_time
    meant = resolve_model(gateway, caller, body["model"])
    caller.reject_model_choice(body)
    if named := input_items.find_item_references(body):
        body = input_items.resolve_item_references(
            body,
            await await_in_time(
                await TURNS.start_work(caller.user_id, find_own_items, caller, list(named.values()))
            ),
        )
    body = encrypted_reasoning.decode_input_reasoning(body)
    places = error_fields.locate_response_items(body)
    try:
        size_bytes = received_request.size_bytes
        asking_of = partial(build_turn_request, gateway, caller, request.request_id, body, meant)
        asked = await call_beside_loop(size_bytes, asking_of)
        recalled, said = await create_turn_if_remembered(gateway, asked, body)
        chat = await call_beside_loop(size_bytes, partial(to_chat.build_chat_body, body, said))
        if body.get("background"):
            chat["stream"] = True
        created_at = recalled.turn.turn_start.created_at if recalled else int(time.time())
        head = build_response_head(body, asked.request_id, created_at, stored=asked.stored)
        thinking = AnswerOptions(
            meant.public_id, received_request.size_bytes, path_count=body.get("mpr_candidates")
        )
        question = msgspec.structs.replace(
            build_chat_request(request.request_id, CHAT, chat, meant, recalled),
            caller_endpoint=ENDPOINT_NAME,
        )
        places.full_body = chat
        answered = await start_answer(gateway, caller, question, thinking, recalled)
        trace, batches = answered
        if recalled is not None and slot is not None:
            events = ResponseEvents(head, recalled.turn.answer)
            ends = slot.hold_response_slot(), request.hold_body_memory()
            feed = gateway.background.start_response(recalled.turn, trace, (batches, events), *ends)
            return render_background_answer(
                request, feed, head, began, wants_stream=bool(body.get("stream"))
            )
        renderer = EventRenderer(trace, head, recalled.turn.answer if recalled else None)
        return await render_answer(request, answered, renderer, places, began)
    except GatewayError as error:
        places.rename_param(error)
        raise


responses = api_endpoint("POST")(make_idempotent(create_response))


def build_turn_request(
    gateway: Gateway,
    caller: Caller,
    request_id: str,
    body: dict[str, Any],
    resolved_model: ResolvedModel,
) -> TurnRequest:
    """Return the request in the form in which the conversation history takes it.

    Raises Forbidden when it needs storing and the key may not store.
    """
    conversation = schema.find_conversation_id(body)
    previous = body.get("previous_response_id") or ""
    if conversation or previous or body.get("background"):
        caller.require_storing()
    stored = body.get("store") is not False and caller.can_store and caller.user_id is not None
    return TurnRequest(
        request_id=request_id.removeprefix("req_"),
        user_id=caller.user_id or 0,
        endpoint=TurnEndpoint.RESPONSE,
        model=body["model"],
        entries=items.entries_from_input(body.get("input") or []),
        conversation_id=conversation,
        previous_id=previous,
        stored=stored,
        background=bool(body.get("background")),
        idle_seconds=int(settings.RESPONSE_KEEP_SECONDS),
        metadata=body.get("metadata") or {},
        settings=echo_fields(body),
        budget_tokens=conversation_options.prompt_budget_tokens(
            gateway.catalogue.find_context_window(resolved_model.public_id), body
        ),
    )


async def create_turn_if_remembered(
    gateway: Gateway, turn_request: TurnRequest, body: dict[str, Any]
) -> tuple[RecalledTurn | None, list[dict[str, Any]]]:
    """Return the turn, if the request is to be remembered, and all messages for the upstream.

    Writes the turn when the response is stored or part of a conversation.
    """
    if turn_request.stored or turn_request.conversation_id:
        recalled = await gateway.history.recall_turn(turn_request)
        return recalled, recalled.messages
    if turn_request.previous_id:
        return None, await await_in_time(
            await TURNS.start_work(
                turn_request.user_id, start_turn.compose_unsaved_messages, turn_request
            )
        )
    return None, to_chat.build_input_messages(body)


def find_own_items(caller: Caller, item_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return a user's own items by their ids; runs in a database thread."""
    mine = Conversation.objects.of_user(caller.user_id or 0)
    found = Item.objects.filter(public_id__in=item_ids, conversation__in=mine)
    return {item.public_id: dict(item.as_openai()) for item in found}


# --- in the background ----------------------------------------------------------------------------
def render_background_answer(
    request: LeanRequest, feed: Feed, head: ResponseHead, start_time: float, *, wants_stream: bool
) -> HttpResponseBase:
    """Return the answer to a background request: its events, or its state "queued"."""
    if wants_stream:
        return StreamAnswer(
            stream_feed(feed), FeedRenderer(), request.gateway.heartbeat, request.request_id
        )
    return JsonAnswer(
        orjson.dumps(build_response_object(head, ResponseOutcome(status="queued"))),
        request.request_id,
        start_time,
    )


async def stream_feed(feed: Feed) -> Batches:
    async with aclosing(feed.follow_events()) as events:
        async for some in events:
            yield some


class FeedRenderer:
    """A renderer of events that the background task has made."""

    @staticmethod
    def render_batch(batch: list[Event]) -> bytes:
        return render_event_lines(batch)

    @staticmethod
    def render_end() -> bytes:
        return b""

    @staticmethod
    def render_failure(error: GatewayError) -> bytes:
        return render_event_lines(make_error_events(error))


def make_error_events(error: GatewayError) -> Iterator[Event]:
    """Yield the error event of a request that has no response object."""
    said = {"code": error.shown_code, "message": error.message, "param": error.param}
    yield {"type": "error", **said, "sequence_number": 0}
