"""The relaying endpoints: chat completions, conversations, legacy completions and embeddings.

All take the same path (`api/relay/pipeline.py`). It makes no query and uses no thread unless a
request is to be remembered.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.http import HttpResponseBase

from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.relay import conversation_options
from api.relay.client_names import name_client
from api.relay.error_fields import locate_chat_messages
from api.relay.header_switches import apply_header_switches
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import (
    AcceptedRequest,
    build_chat_request,
    render_answer,
    resolve_model,
    start_answer,
)
from api.responses.request import responses_shape
from api.schemas import chat_request_body
from api.schemas.default_model import read_with_default_model
from api.schemas.json_body import read_beside_loop
from api.server_tools.plan_requests import plan_chat_tools
from api.streaming.chat_renderer import ChatRenderer
from api.views.base import require_json
from conversations.server_tools.whole_answer import hide_server_items
from providers.exceptions import GatewayError, InvalidRequest
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS


async def relay_request(
    request: LeanRequest, endpoint: str, forced_strategy: str = "", conversation_id: str = ""
) -> HttpResponseBase:
    """Answer one request, from its API key to its answer.

    `forced_strategy` names the strategy to use; `conversation_id` is the conversation of the path.
    Writes the usage record, and the turn when the request is to be remembered. Raises GatewayError.
    """
    gateway = request.gateway
    start_time = time.monotonic()
    gateway.ledger.require_available()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.receive_body()
    read_body: Callable[[bytes], JsonObject] = responses_shape.read_chat_body
    if endpoint != CHAT:
        read_body = partial(chat_request_body.read_request_body, endpoint)
    if caller.default_model:
        read_body = partial(read_with_default_model, read_body, caller.default_model)
    body: Mapping[str, Any] = await read_beside_loop(read_body, raw)
    model = resolve_model(gateway, caller, body["model"])
    caller.reject_model_choice(body)
    group = ""
    if "session_id" in body:
        body, group = conversation_options.separate_session(body, caller, request.META)
    if conversation_id:
        body = add_path_conversation(body, conversation_id)
    turn = positions = plan = None
    if endpoint == CHAT and gateway.catalogue.find_server_tools(model.public_id):
        body, plan = await plan_chat_tools(gateway, caller, model, body)
    try:
        if endpoint == CHAT and not chat_request_body.CONVERSATION_FIELDS.isdisjoint(body):
            positions = locate_chat_messages(body)
            turn = await conversation_options.start_chat_turn(
                request, caller, body, model, len(raw)
            )
        upstream_body = conversation_options.apply_turn(body, turn)
        if positions is not None:
            positions.full_body = upstream_body
        chat_request = build_chat_request(request.request_id, endpoint, upstream_body, model, turn)
        chat_request = apply_header_switches(chat_request, request.META)
        if group:
            chat_request = conversation_options.add_group(chat_request, group)
        accepted = AcceptedRequest(
            caller,
            chat_request,
            model,
            len(raw),
            turn,
            forced_strategy,
            body.get("mpr_candidates"),
            name_client(request.META),
            tool_plan=plan,
        )
        answer = await start_answer(gateway, accepted)
        if plan is not None:
            answer = answer._replace(batches=hide_server_items(answer.batches))
        names = conversation_options.read_conversation_fields(body)
        renderer = ChatRenderer(answer.trace, names)
        return await render_answer(request, answer, renderer, positions, start_time)
    except GatewayError as error:
        if positions is not None:
            positions.rename_param(error)
        raise


async def relay_in_conversation(request: LeanRequest, conversation: str) -> HttpResponseBase:
    """Answer a request that is a turn of the conversation in the path."""
    return await relay_request(request, CHAT, conversation_id=conversation)


def add_path_conversation(body: Mapping[str, Any], conversation_id: str) -> dict[str, Any]:
    """Return the body with the conversation of the path.

    Raises InvalidRequest when the body names another one.
    """
    for field in ("conversation_id", "session_id"):
        if body.get(field) not in (None, conversation_id):
            raise InvalidRequest(
                "The path names another conversation than the body.", param="conversation_id"
            )
    return {**body, "conversation_id": conversation_id}


chat_completions = api_endpoint("POST")(make_idempotent(partial(relay_request, endpoint=CHAT)))
conversation_completions = api_endpoint("POST")(make_idempotent(relay_in_conversation))
chain_of_thought = api_endpoint("POST")(  # the route of OpenKimi
    make_idempotent(partial(relay_request, endpoint=CHAT, forced_strategy="stepwise"))
)
completions = api_endpoint("POST")(make_idempotent(partial(relay_request, endpoint=COMPLETIONS)))
embeddings = api_endpoint("POST")(make_idempotent(partial(relay_request, endpoint=EMBEDDINGS)))
