"""POST /v1/responses: a chat completion in the form of OpenAI's Responses API.

A response is stored unless the body or the API key says otherwise. In a conversation it is always
remembered. A response in the background runs on when the caller leaves. The caller gets its state
at once, or its events when it streams.
"""

import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

import orjson
from django.conf import settings
from django.http import HttpResponseBase

from api.authentication import Caller
from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.relay import conversation_options
from api.relay.error_fields import locate_response_items
from api.relay.gateway import Gateway
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import (
    AcceptedRequest,
    StartedAnswer,
    build_chat_request,
    render_answer,
    resolve_model,
    start_answer,
)
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
from api.schemas.default_model import read_with_default_model
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.streaming.stream_answer import JsonAnswer, StreamAnswer
from api.views.base import require_json
from conversations.history import start_turn
from conversations.history.recorder import RecalledTurn
from conversations.history.turn_request import TurnRequest
from conversations.messages import input_to_items
from conversations.models import Conversation, Item, TurnEndpoint
from providers.catalogue import ResolvedModel
from providers.database.database_threads import TURNS, await_in_time
from providers.exceptions import GatewayError
from providers.protocol.chunks import Batches
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT

ENDPOINT_NAME = "responses"


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """A request's body, its size in bytes, and the time when it came, on the monotonic clock."""

    body: JsonObject
    size_bytes: int
    start_time: float


async def create_response(request: LeanRequest) -> HttpResponseBase:
    """Answer one response request.

    Raises GatewayError.
    """
    gateway = request.gateway
    start_time = time.monotonic()
    gateway.ledger.require_available()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.receive_body()
    read_body = partial(read_with_default_model, schema.read_response_body, caller.default_model)
    body = await read_beside_loop(read_body, raw)
    received = ReceivedBody(body, len(raw), start_time)
    if not body.get("background"):
        return await answer_response_request(request, caller, received, None)
    with gateway.background.reserve_response_slot(
        caller.user_id or 0, gateway.requests_in_flight
    ) as slot:
        return await answer_response_request(request, caller, received, slot)


async def answer_response_request(
    request: LeanRequest, caller: Caller, received: ReceivedBody, slot: ResponseSlot | None
) -> HttpResponseBase:
    """Answer the request; in the background when it has a `slot` there.

    Writes the usage record, and the turn when the response is to be remembered. Raises
    GatewayError.
    """
    model = resolve_model(request.gateway, caller, received.body["model"])
    caller.reject_model_choice(received.body)
    body = await resolve_references(caller, received.body)
    positions = locate_response_items(body)
    try:
        accepted, head = await accept_response(request, caller, model, replace(received, body=body))
        positions.full_body = accepted.chat_request.body
        answer = await start_answer(request.gateway, accepted)
        turn = accepted.turn
        if turn is not None and slot is not None:
            feed = start_background(request, turn, answer, head, slot)
            wants_stream = bool(body.get("stream"))
            return render_background_answer(
                request, feed, head, received.start_time, wants_stream=wants_stream
            )
        renderer = EventRenderer(answer.trace, head, turn.turn.answer if turn else None)
        return await render_answer(request, answer, renderer, positions, received.start_time)
    except GatewayError as error:
        positions.rename_param(error)
        raise


async def resolve_references(caller: Caller, body: JsonObject) -> JsonObject:
    """Return the body with the caller's own items in place of references to them.

    Raises InvalidRequest, DatabaseUnavailable.
    """
    references = input_items.find_item_references(body)
    if references:
        ids = list(references.values())
        work = await TURNS.start_work(caller.user_id, find_own_items, caller, ids)
        body = input_items.resolve_item_references(body, await await_in_time(work))
    body = encrypted_reasoning.decode_input_reasoning(body)
    return input_items.drop_hosted_outputs(body)


async def accept_response(
    request: LeanRequest, caller: Caller, model: ResolvedModel, received: ReceivedBody
) -> tuple[AcceptedRequest, ResponseHead]:
    """Return the accepted request, and the part of its response that is known now.

    Writes the turn when the response is to be remembered. Raises GatewayError.
    """
    body = received.body
    size_bytes = received.size_bytes
    build_turn = partial(
        build_turn_request, request.gateway, caller, request.request_id, body, model
    )
    turn_request = await call_beside_loop(size_bytes, build_turn)
    turn, messages = await create_turn_if_remembered(request.gateway, turn_request, body)
    build_body = partial(
        to_chat.build_chat_body,
        body,
        messages,
        turn_request.tool_names,
        searches=request.gateway.catalogue.searches_web(model),
    )
    chat_body = await call_beside_loop(size_bytes, build_body)
    if body.get("background"):
        chat_body = {**chat_body, "stream": True}
    chat_request = build_chat_request(request.request_id, CHAT, chat_body, model, turn)
    accepted = AcceptedRequest(
        caller,
        chat_request.from_endpoint(ENDPOINT_NAME),
        model,
        size_bytes,
        turn,
        path_count=body.get("mpr_candidates"),
    )
    created_at = turn.turn.turn_start.created_at if turn else int(time.time())
    head = build_response_head(
        body,
        turn_request.request_id,
        created_at,
        stored=turn_request.stored,
        tool_names=turn_request.tool_names,
    )
    return accepted, head


responses = api_endpoint("POST")(make_idempotent(create_response))


def build_turn_request(
    gateway: Gateway,
    caller: Caller,
    request_id: str,
    body: JsonObject,
    model: ResolvedModel,
) -> TurnRequest:
    """Return the request in the form in which the conversation history takes it.

    Raises Forbidden when it needs storing and the key may not store.
    """
    conversation_id = schema.find_conversation_id(body)
    previous_id = body.get("previous_response_id") or ""
    if conversation_id or previous_id or body.get("background"):
        caller.require_storing()
    is_stored = body.get("store") is not False and caller.can_store and caller.user_id is not None
    window_tokens = gateway.catalogue.find_context_window(model.public_id)
    return TurnRequest(
        request_id=request_id.removeprefix("req_"),
        user_id=caller.user_id or 0,
        endpoint=TurnEndpoint.RESPONSE,
        model=body["model"],
        entries=input_to_items.entries_from_input(body.get("input") or []),
        conversation_id=conversation_id,
        previous_id=previous_id,
        stored=is_stored,
        background=bool(body.get("background")),
        idle_seconds=int(settings.RESPONSE_KEEP_SECONDS),
        metadata=body.get("metadata") or {},
        settings=echo_fields(body),
        budget_tokens=conversation_options.prompt_budget_tokens(window_tokens, body),
        tool_names=to_chat.read_tool_names(body),
    )


async def create_turn_if_remembered(
    gateway: Gateway, turn_request: TurnRequest, body: JsonObject
) -> tuple[RecalledTurn | None, list[JsonObject]]:
    """Return the turn, if the request is to be remembered, and all messages for the upstream.

    Writes the turn when the response is stored or part of a conversation.
    """
    if turn_request.stored or turn_request.conversation_id:
        turn = await gateway.history.recall_turn(turn_request)
        return turn, turn.messages
    if not turn_request.previous_id:
        return None, to_chat.build_input_messages(body, turn_request.tool_names)
    work = await TURNS.start_work(
        turn_request.user_id, start_turn.compose_unsaved_messages, turn_request
    )
    return None, await await_in_time(work)


def find_own_items(caller: Caller, item_ids: list[str]) -> dict[str, JsonObject]:
    """Return a user's own items by their ids; runs in a database thread."""
    own_conversations = Conversation.objects.of_user(caller.user_id or 0)
    own_items = Item.objects.filter(public_id__in=item_ids, conversation__in=own_conversations)
    return {item.public_id: dict(item.as_openai()) for item in own_items}


# --- in the background ----------------------------------------------------------------------------
def start_background(
    request: LeanRequest,
    turn: RecalledTurn,
    answer: StartedAnswer,
    head: ResponseHead,
    slot: ResponseSlot,
) -> Feed:
    """Start a task that makes the answer, and return the feed of its events."""
    events = ResponseEvents(head, turn.turn.answer)
    return request.gateway.background.start_response(
        turn.turn,
        answer.trace,
        (answer.batches, events),
        slot.hold_response_slot(),
        request.hold_body_memory(),
    )


def render_background_answer(
    request: LeanRequest, feed: Feed, head: ResponseHead, start_time: float, *, wants_stream: bool
) -> HttpResponseBase:
    """Return the answer to a background request: its events, or its state "queued"."""
    if wants_stream:
        return StreamAnswer(
            stream_feed(feed), FeedRenderer(), request.gateway.heartbeat, request.request_id
        )
    queued = build_response_object(head, ResponseOutcome(status="queued"))
    return JsonAnswer(orjson.dumps(queued), request.request_id, start_time)


async def stream_feed(feed: Feed) -> Batches:
    async with aclosing(feed.follow_events()) as batches:
        async for batch in batches:
            yield batch


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
    fields = {"code": error.shown_code, "message": error.message, "param": error.param}
    yield {"type": "error", **fields, "sequence_number": 0}
