"""POST /v1/responses/compact: a conversation as its user messages and one summary of the rest.

The model of the request writes the summary, in one upstream call that is recorded like any other.
Nothing is stored. A later request whose input has the compaction brings the summary to its model.
Source: OpenAI's API reference, "Compact a response".
"""

import time
from dataclasses import dataclass
from functools import partial

import orjson
from django.http import HttpResponseBase
from msgspec import structs

from api.authentication import Caller
from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.relay import conversation_options
from api.relay.client_names import name_client
from api.relay.header_switches import apply_header_switches
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import (
    AcceptedRequest,
    build_chat_request,
    read_single_chunk,
    resolve_model,
    start_answer,
)
from api.responses.output.compaction_object import build_compacted_items, build_compaction_object
from api.responses.output.objects import render_usage
from api.responses.request import to_chat
from api.responses.request.compaction_body import build_chat_body, read_compaction_body
from api.schemas.default_model import read_with_default_model
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.streaming.stream_answer import JsonAnswer, upstream_headers
from api.views.base import require_json
from api.views.responses.input_references import resolve_references
from api.views.responses.input_tokens import build_lookup_request
from conversations.history.start_turn import load_unsaved_items
from conversations.history.turn_request import TurnRequest
from conversations.messages.items import ItemLike
from conversations.prompts.compaction import make_compaction_messages, read_summary
from providers.catalogue import ResolvedModel
from providers.choices import Search
from providers.database.database_threads import TURNS, await_in_time
from providers.exceptions import GatewayError, InvalidRequest
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT

ENDPOINT_NAME = "responses/compact"
UPSTREAM_FIELD = "messages"  # which is made from `input`


@dataclass(frozen=True, slots=True)
class CompactionRequest:
    """A request to compact: its body, its model, and the items that the summary replaces."""

    body: JsonObject
    model: ResolvedModel
    items: list[ItemLike]


async def create_compaction(request: LeanRequest) -> HttpResponseBase:
    """Answer one request to compact a conversation.

    Writes the usage record. Raises GatewayError.
    """
    start_time = time.monotonic()
    request.gateway.ledger.require_available()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.receive_body()
    read_body = partial(read_with_default_model, read_compaction_body, caller.default_model)
    body = await read_beside_loop(read_body, raw)
    model = resolve_model(request.gateway, caller, body["model"])
    caller.reject_model_choice(body)
    body = await resolve_references(caller, body)
    items = await load_items(request, caller, body, model, len(raw))
    try:
        return await answer_compaction(
            request, caller, CompactionRequest(body, model, items), start_time
        )
    except GatewayError as error:
        if (error.param or "").startswith(UPSTREAM_FIELD):
            error.param = "input"
        raise


create_compaction_once = api_endpoint("POST")(make_idempotent(create_compaction))


async def load_items(
    request: LeanRequest, caller: Caller, body: JsonObject, model: ResolvedModel, size_bytes: int
) -> list[ItemLike]:
    """Return the items of the conversation: the history, as far as it fits, and the input.

    Raises Forbidden, UnknownUrl, InvalidRequest, DatabaseUnavailable.
    """
    window = request.gateway.catalogue.find_context_window(model.public_id)
    budget = conversation_options.prompt_budget_tokens(window, body)
    build_turn = partial(build_lookup_request, caller, request.request_id, body, budget)
    turn_request = await call_beside_loop(size_bytes, build_turn)
    if not turn_request.previous_id:
        return list(turn_request.entries)
    caller.require_storing()
    return await await_in_time(
        await TURNS.start_work(caller.user_id, load_history_items, turn_request)
    )


def load_history_items(turn_request: TurnRequest) -> list[ItemLike]:
    """Return the items before a request, then its own; runs in a database thread."""
    system, earlier, entries = load_unsaved_items(turn_request)
    return [*system, *earlier, *entries]


async def answer_compaction(
    request: LeanRequest, caller: Caller, compaction: CompactionRequest, start_time: float
) -> HttpResponseBase:
    """Have the summary written, and return the compacted conversation. Raises GatewayError."""
    accepted = accept_compaction(request, caller, compaction)
    answer = await start_answer(request.gateway, accepted)
    summary = read_summary(await read_single_chunk(answer.batches))
    request_hex = accepted.chat_request.id
    content = build_compaction_object(
        request_hex,
        int(time.time()),
        build_compacted_items(request_hex, compaction.items, summary),
        render_usage(answer.trace.meter.counted),
    )
    response = JsonAnswer(orjson.dumps(content), request.request_id, start_time)
    response.raw_headers += upstream_headers(answer.trace)
    response.raw_headers += request.list_limit_headers()
    return response


def accept_compaction(
    request: LeanRequest, caller: Caller, compaction: CompactionRequest
) -> AcceptedRequest:
    """Return the accepted request for the summary.

    It is one plain call without web search, whatever the model's strategy is. Raises InvalidRequest
    when there is nothing to compact.
    """
    body = compaction.body
    messages = make_compaction_messages(compaction.items, to_chat.build_instructions(body))
    if not messages:
        raise make_empty_error()
    chat_body = build_chat_body(body, messages)
    chat_request = build_chat_request(request.request_id, CHAT, chat_body, compaction.model)
    chat_request = apply_header_switches(chat_request, request.META)
    chat_request = structs.replace(chat_request, search=Search.OFF)
    return AcceptedRequest(
        caller,
        chat_request.from_endpoint(ENDPOINT_NAME),
        compaction.model,
        sum(len(message["content"].encode("utf-8", "replace")) for message in messages),
        forced_strategy="direct",
        client=name_client(request.META),
    )


def make_empty_error() -> InvalidRequest:
    """Return the error of a conversation without a text."""
    return InvalidRequest(
        "There is nothing to be compacted.", param="input", code="missing_required_parameter"
    )
