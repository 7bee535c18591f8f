"""Answer one request to a relayed endpoint, from its API key to its answer."""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from django.http import HttpResponseBase

from api.relay.client_names import name_client
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import (
    AcceptedRequest,
    StartedAnswer,
    read_single_chunk,
    resolve_model,
    start_answer,
)
from api.relayed.form_body import FORM_TYPE, receive_form
from api.relayed.relayed_bodies import (
    SHAPES,
    add_default_model,
    read_relayed_body,
    wants_stream,
)
from api.schemas.default_model import read_with_default_model
from api.schemas.json_body import read_beside_loop
from api.streaming.relayed_answer import RelayedAnswer, WholeAnswer
from api.streaming.stream_answer import upstream_headers
from providers.exceptions import UnsupportedMediaType
from providers.protocol.json_types import JsonObject
from providers.protocol.relayed_request import (
    CONTENT,
    CONTENT_TYPE,
    IMAGE_EDITS,
    IMAGE_VARIATIONS,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    UploadedForm,
)
from providers.protocol.request import ChatRequest

FORM_ENDPOINTS = (IMAGE_EDITS, IMAGE_VARIATIONS, TRANSCRIPTIONS, TRANSLATIONS)
JSON_TYPES = ("application/json", "")


class ReceivedBody(NamedTuple):
    """The body of a request, checked; `size_bytes` is that of JSON, or of a form's files."""

    fields: JsonObject
    size_bytes: int
    form: UploadedForm | None = None


async def relay_endpoint(request: LeanRequest, endpoint: str) -> HttpResponseBase:
    """Answer one request to this endpoint (of `providers.protocol.relayed_request`).

    Writes the usage record. Raises GatewayError.
    """
    gateway = request.gateway
    start_time = time.monotonic()
    gateway.ledger.require_available()
    caller = await request.authenticate()
    body = await receive_body(request, endpoint, caller.default_model)
    model = resolve_model(gateway, caller, body.fields["model"])
    caller.reject_model_choice(body.fields)
    chat_request = ChatRequest(
        id=request.request_id.removeprefix("req_"),
        endpoint=endpoint,
        model=body.fields["model"],
        body=body.fields,
        stream=wants_stream(body.fields),
        form=body.form,
    )
    client = name_client(request.META)
    accepted = AcceptedRequest(caller, chat_request, model, body.size_bytes, client=client)
    answer = await start_answer(gateway, accepted)
    if chat_request.stream or endpoint == SPEECH:
        stream = RelayedAnswer(answer.batches, answer.trace, request.request_id)
        stream.limit_headers = request.list_limit_headers()
        return stream
    return await render_whole_answer(request, answer, start_time)


async def receive_body(request: LeanRequest, endpoint: str, default_model: str) -> ReceivedBody:
    """Receive and check the body of a request. Raises GatewayError."""
    is_form = request.content_type == FORM_TYPE
    if is_form and endpoint in FORM_ENDPOINTS:
        fields, form = await receive_form(request, endpoint, default_model)
        return ReceivedBody(fields, form.size_bytes, form)
    if endpoint not in SHAPES:
        raise UnsupportedMediaType(f"Send the body as {FORM_TYPE}.")
    if request.content_type not in JSON_TYPES:
        types = f"application/json or {FORM_TYPE}" if endpoint in FORM_ENDPOINTS else JSON_TYPES[0]
        raise UnsupportedMediaType(f"Send the body as {types}.")
    raw = await request.receive_body()
    reader: Callable[[bytes], JsonObject] = partial(read_relayed_body, endpoint)
    if default_model:
        reader = partial(read_with_default_model, reader, default_model)
    else:
        raw = add_default_model(endpoint, raw)
    return ReceivedBody(await read_beside_loop(reader, raw), len(raw))


async def render_whole_answer(
    request: LeanRequest, answer: StartedAnswer, start_time: float
) -> HttpResponseBase:
    """Return an answer that came whole. Its usage record is committed then."""
    chunk = await read_single_chunk(answer.batches)
    response = WholeAnswer(chunk[CONTENT], chunk[CONTENT_TYPE], request.request_id, start_time)
    response.raw_headers += upstream_headers(answer.trace)
    response.raw_headers += request.list_limit_headers()
    return response
