"""POST /v1/messages: a chat completion in the form of Anthropic's Messages API.

The request takes the path of a chat completion (`api/relay/pipeline.py`), over every upstream and
strategy. An upstream that speaks Anthropic's dialect gets the caller's body as it came.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from django.http import HttpResponseBase
from msgspec import structs

from api.authentication import Caller
from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.messages.output.message_renderer import MessageRenderer
from api.messages.request import body_shape
from api.messages.request.answer_wishes import read_answer_wishes
from api.messages.request.chat_body import ChatForm, build_chat_form
from api.messages.request.native_needs import find_native_needs, list_omitted_fields
from api.messages.request.original_body import build_original
from api.relay.client_names import name_client
from api.relay.conversation_options import add_group, name_group
from api.relay.header_switches import apply_header_switches
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import (
    AcceptedRequest,
    build_chat_request,
    render_answer,
    resolve_model,
    start_answer,
)
from api.schemas.default_model import read_with_default_model
from api.schemas.json_body import call_beside_loop, read_beside_loop
from api.views.base import require_json
from providers.catalogue import Candidate, ResolvedModel
from providers.choices import Search
from providers.exceptions import GatewayError
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ANTHROPIC, CHAT, MESSAGES, ChatRequest

SESSION_HEADER = "HTTP_X_CLAUDE_CODE_SESSION_ID"
REQUEST_ID_HEADER = "request-id"
OMITTED_HEADER = "x-proxysite-omitted"


class ReceivedMessages(NamedTuple):
    """A validated body, its chat form and the model that it names."""

    body: JsonObject
    form: ChatForm
    model: ResolvedModel
    size_bytes: int


async def create_message(request: LeanRequest) -> HttpResponseBase:
    """Answer one request of the Messages API.

    Writes the usage record. Raises GatewayError.
    """
    start_time = time.monotonic()
    request.gateway.ledger.require_available()
    caller = await request.authenticate()
    received = await receive_messages(request, caller, body_shape.MessagesBody)
    positions = received.form.positions
    try:
        accepted = accept_messages(request, caller, received)
        answer = await start_answer(request.gateway, accepted)
        wishes = read_answer_wishes(received.body, received.model.thinking)
        renderer = MessageRenderer(answer.trace, wishes)
        response = await render_answer(request, answer, renderer, positions, start_time)
        if omitted := list_omitted_fields(received.body):
            candidates = find_candidates(request, caller, received, accepted.chat_request)
            if not any(map(is_native, candidates)):
                response.headers[OMITTED_HEADER] = quote(", ".join(omitted), safe=", ")
    except GatewayError as error:
        positions.rename_param(error)
        raise
    response.headers[REQUEST_ID_HEADER] = request.request_id
    return response


async def receive_messages(
    request: LeanRequest, caller: Caller, shape: type[body_shape.MessageCountBody]
) -> ReceivedMessages:
    """Return the body of a request, validated and in its chat form. Raises GatewayError."""
    require_json(request)
    raw = await request.receive_body()
    read_body = partial(
        read_with_default_model,
        partial(body_shape.read_messages_body, shape=shape),
        caller.default_model,
    )
    body = await read_beside_loop(read_body, raw)
    model = resolve_model(request.gateway, caller, body["model"])
    caller.reject_model_choice(body)
    form = await call_beside_loop(len(raw), partial(build_chat_form, body))
    return ReceivedMessages(body, form, model, len(raw))


def accept_messages(
    request: LeanRequest, caller: Caller, received: ReceivedMessages
) -> AcceptedRequest:
    """Return the request as the path of chat completions takes it. Raises GatewayError."""
    model = received.model
    chat_request = build_chat_request(request.request_id, CHAT, received.form.body, model)
    chat_request = apply_header_switches(chat_request, request.META)
    chat_request = structs.replace(
        chat_request,
        caller_endpoint=MESSAGES,
        original=build_original(received.body, request.META),
    )
    session = request.META.get(SESSION_HEADER)
    if session and caller.user_id is not None:
        chat_request = add_group(chat_request, name_group(caller.user_id, session))
    candidates = find_candidates(request, caller, received, chat_request)
    needs_native = needs_native_upstream(request, received, candidates)
    return AcceptedRequest(
        caller,
        chat_request,
        model,
        received.size_bytes,
        client=name_client(request.META),
        only_dialect=ANTHROPIC if needs_native else "",
    )


def find_candidates(
    request: LeanRequest, caller: Caller, received: ReceivedMessages, chat_request: ChatRequest
) -> list[Candidate]:
    """Return the candidates for a request. Raises GatewayError when there is none."""
    public_id = received.model.public_id
    return request.gateway.catalogue.find_candidates(public_id, chat_request, caller.provider)


def needs_native_upstream(
    request: LeanRequest, received: ReceivedMessages, candidates: Sequence[Candidate]
) -> bool:
    """Return whether only an upstream of Anthropic's dialect can answer.

    Raises InvalidRequest when there is none.
    """
    setting = request.gateway.catalogue.find_search_setting(received.model)
    can_search = setting == Search.ON or (
        not setting and any(candidate.adapter.can_search for candidate in candidates)
    )
    need = next(find_native_needs(received.body, can_search=can_search), None)
    if need is None:
        return False
    if not any(map(is_native, candidates)):
        raise need
    return True


def is_native(candidate: Candidate) -> bool:
    """Return whether the candidate's upstream gets the caller's own body."""
    return candidate.adapter.original_dialect == ANTHROPIC


messages = api_endpoint("POST")(make_idempotent(create_message))
