"""/v1/responses/input_tokens: the number of tokens in the input of a response request.

No upstream is called and nothing is stored. The body is that of a response, and the model may be
left out. Text is counted as the ledger counts it when an upstream gives no figures
(api/accounting/token_count.py): an estimate for models with another vocabulary. Source: OpenAI's
API reference, "Get input token counts".
"""

import time
from functools import partial

import orjson
from django.http import HttpResponseBase

from api.accounting import token_count
from api.authentication import Caller
from api.exceptions import api_endpoint
from api.relay import conversation_options
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import resolve_model
from api.responses.request import schema, to_chat
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.streaming.stream_answer import JsonAnswer
from api.views.base import require_json
from api.views.responses.input_references import resolve_references
from conversations.history import start_turn
from conversations.history.turn_request import TurnRequest
from conversations.messages import input_to_items
from conversations.models import TurnEndpoint
from providers.database.database_threads import TURNS, await_in_time
from providers.protocol.json_types import JsonObject


@api_endpoint("POST")
async def count_input_tokens(request: LeanRequest) -> HttpResponseBase:
    gateway = request.gateway
    began = time.monotonic()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.receive_body()
    size_bytes = len(raw)
    body = await read_beside_loop(
        partial(schema.read_response_body, shape=schema.TokenCountBody), raw
    )
    window = None
    if name := body.get("model"):
        model = resolve_model(gateway, caller, name)
        window = gateway.catalogue.find_context_window(model.public_id)
    body = await resolve_references(caller, body)
    if schema.find_conversation_id(body) or body.get("previous_response_id"):
        caller.require_storing()
        budget = conversation_options.prompt_budget_tokens(window, body)
        lookup_request = await call_beside_loop(
            size_bytes, partial(build_lookup_request, caller, request.request_id, body, budget)
        )
        messages = await await_in_time(
            await TURNS.start_work(
                caller.user_id, start_turn.compose_unsaved_messages, lookup_request
            )
        )
    else:
        messages = await call_beside_loop(size_bytes, partial(to_chat.build_input_messages, body))
    chat_body = await call_beside_loop(size_bytes, partial(to_chat.build_chat_body, body, messages))
    count = await token_count.count_body(chat_body)
    answer: JsonObject = {"object": "response.input_tokens", "input_tokens": count.tokens}
    if not count.is_exact:
        answer["estimated"] = True  # counted from a sample
    return JsonAnswer(orjson.dumps(answer), request.request_id, began)


def build_lookup_request(
    caller: Caller, request_id: str, body: JsonObject, budget: int
) -> TurnRequest:
    return TurnRequest(
        request_id=request_id.removeprefix("req_"),
        user_id=caller.user_id or 0,
        endpoint=TurnEndpoint.RESPONSE,
        model=body.get("model") or "",
        entries=input_to_items.entries_from_input(body.get("input") or []),
        conversation_id=schema.find_conversation_id(body),
        previous_id=body.get("previous_response_id") or "",
        budget_tokens=budget,
        tool_names=to_chat.read_tool_names(body),
    )
