"""POST /v1/responses: a chat completion in the form of OpenAI's Responses API.

A response is stored unless the body or the API key says otherwise. In a conversation it is always
remembered. A response in the background runs on when the caller leaves. The caller gets its state
at once, or its events when it streams.
"""

import time
from dataclasses import dataclass, replace
from functools import partial

from django.http import HttpResponseBase
from msgspec import structs

from api.authentication import Caller
from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.relay.client_names import name_client
from api.relay.error_fields import MessagePositions, locate_response_items
from api.relay.header_switches import apply_header_switches
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import (
    AcceptedRequest,
    StartedAnswer,
    build_chat_request,
    render_answer,
    resolve_model,
    start_answer,
)
from api.responses.background.response_slots import ResponseSlot
from api.responses.output.objects import ResponseHead, build_response_head
from api.responses.output.renderer import EventRenderer
from api.responses.request import schema, to_chat, tool_choice
from api.responses.request.input_items import ends_with_trigger
from api.schemas.default_model import read_with_default_model
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.server_tools.plan_requests import plan_response_tools
from api.views.base import require_json
from api.views.responses.background_answer import render_background_answer, start_background
from api.views.responses.context_fitting import WholeContext, build_trigger_body, fit_context
from api.views.responses.input_references import resolve_references
from api.views.responses.response_turns import (
    ReceivedBody,
    build_turn_request,
    create_turn_if_remembered,
)
from conversations.history.recorder import RecalledTurn
from conversations.history.turn_request import TurnRequest
from conversations.messages.answer_builder import CollectedAnswer
from providers.catalogue import ResolvedModel
from providers.choices import LongPrompts, Search
from providers.exceptions import GatewayError
from providers.protocol.request import CHAT, ChatRequest

ENDPOINT_NAME = "responses"
# `truncation` of a body -> choices.LongPrompts, where the body does not choose that itself
LONG_PROMPTS_BY_TRUNCATION = {"auto": LongPrompts.FIT.value, "disabled": LongPrompts.REFUSE.value}


@dataclass(frozen=True, slots=True)
class AcceptedResponse:
    """An accepted request, the part of its response that is known now, and its items.

    `summary` is that of a conversation that was compacted within the request.
    """

    request: AcceptedRequest
    head: ResponseHead
    turn_request: TurnRequest
    summary: str = ""
    is_compaction: bool = False  # the whole answer is a compaction

    def prepare_answer(self, answer: CollectedAnswer) -> None:
        """Tell an empty answer what it has beside the chunks that will come."""
        if self.is_compaction:
            answer.expect_compaction()
        elif self.summary:
            answer.add_compaction(self.summary)


@dataclass(frozen=True, slots=True)
class ComposedRequest:
    """A request with all that its upstream is to read, and its turn if it is remembered."""

    context: WholeContext
    turn_request: TurnRequest
    turn: RecalledTurn | None


@dataclass(frozen=True, slots=True)
class StartedResponse:
    """A response whose upstreams are asked: how it is accepted, its chunks, and its fields' names.

    `positions` names the fields that an error may be about.
    """

    accepted: AcceptedResponse
    answer: StartedAnswer
    positions: MessagePositions

    def make_renderer(self) -> EventRenderer:
        """Return the renderer of the response."""
        turn = self.accepted.request.turn
        collected = turn.turn.answer if turn else None
        renderer = EventRenderer(self.answer.trace, self.accepted.head, collected)
        if collected is None:
            self.accepted.prepare_answer(renderer.answer)
        return renderer


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
    started = await start_response(request, caller, received)
    answer = started.answer
    accepted = started.accepted
    turn = accepted.request.turn
    try:
        if turn is not None and slot is not None:
            feed = start_background(request, turn, answer, accepted.head, slot)
            wants_stream = bool(received.body.get("stream"))
            return render_background_answer(
                request, feed, accepted.head, received.start_time, wants_stream=wants_stream
            )
        renderer = started.make_renderer()
        return await render_answer(
            request, answer, renderer, started.positions, received.start_time
        )
    except GatewayError as error:
        started.positions.rename_param(error)
        raise


async def start_response(
    request: LeanRequest, caller: Caller, received: ReceivedBody
) -> StartedResponse:
    """Accept the request, and begin to ask its upstreams.

    Writes the turn when the response is to be remembered. Raises GatewayError.
    """
    model = resolve_model(request.gateway, caller, received.body["model"])
    caller.reject_model_choice(received.body)
    body = await resolve_references(caller, received.body)
    positions = locate_response_items(body)
    try:
        accepted = await accept_response(request, caller, model, replace(received, body=body))
        positions.full_body = accepted.request.chat_request.body
        answer = await start_answer(request.gateway, accepted.request)
    except GatewayError as error:
        positions.rename_param(error)
        raise
    return StartedResponse(accepted, answer, positions)


async def accept_response(
    request: LeanRequest, caller: Caller, model: ResolvedModel, received: ReceivedBody
) -> AcceptedResponse:
    """Return the accepted request.

    Writes the turn when the response is to be remembered. Raises GatewayError.
    """
    planned = await plan_response_tools(request.gateway, caller, model, received.body)
    body = planned.body
    received = replace(received, body=body)
    tool_choice.check_choice(body)
    size_bytes = received.size_bytes
    build_turn = partial(
        build_turn_request, request.gateway, caller, request.request_id, received, model
    )
    turn_request = await call_beside_loop(size_bytes, build_turn)
    turn, messages = await create_turn_if_remembered(request.gateway, turn_request)
    try:
        whole = WholeContext(body, messages, size_bytes)
        context = await fit_context(request, caller, model, whole)
        composed = ComposedRequest(replace(whole, messages=context.messages), turn_request, turn)
        chat_request = await build_upstream_request(request, model, composed)
    except BaseException:  # also when the caller left; the turn would stay open
        if turn is not None:
            await request.gateway.history.delete_refused_turn(turn.turn)
        raise
    accepted = AcceptedRequest(
        caller,
        chat_request.from_endpoint(ENDPOINT_NAME),
        model,
        size_bytes,
        turn,
        forced_strategy="direct" if ends_with_trigger(body) else "",
        path_count=body.get("mpr_candidates"),
        client=name_client(request.META),
        tool_plan=planned.plan,
    )
    created_at = turn.turn.turn_start.created_at if turn else int(time.time())
    head = build_response_head(
        received.body,
        turn_request.request_id,
        created_at,
        stored=turn_request.stored,
        tool_names=turn_request.tool_names,
    )
    response = AcceptedResponse(
        accepted, head, turn_request, context.summary, ends_with_trigger(body)
    )
    if turn is not None:
        response.prepare_answer(turn.turn.answer)
    return response


async def build_upstream_request(
    request: LeanRequest, model: ResolvedModel, composed: ComposedRequest
) -> ChatRequest:
    """Return the chat request for the upstream. Raises InvalidRequest."""
    body = composed.context.body
    messages = composed.context.messages
    build_body = partial(
        to_chat.build_chat_body,
        body,
        messages,
        composed.turn_request.tool_names,
        search_setting=request.gateway.catalogue.find_search_setting(model),
    )
    if is_compaction := ends_with_trigger(body):
        build_body = partial(build_trigger_body, body, messages)
    chat_body = await call_beside_loop(composed.context.size_bytes, build_body)
    if body.get("background"):
        chat_body = {**chat_body, "stream": True}
    if policy := LONG_PROMPTS_BY_TRUNCATION.get(body.get("truncation") or ""):
        chat_body.setdefault("long_prompts", policy)
    chat_request = build_chat_request(request.request_id, CHAT, chat_body, model, composed.turn)
    if is_compaction:
        chat_request = structs.replace(chat_request, search=Search.OFF)
    return apply_header_switches(chat_request, request.META)


responses = api_endpoint("POST")(make_idempotent(create_response))
