"""/tokenize and /detokenize: no usage record is written, and no tokens are charged."""

import time

import orjson
from django.http import HttpResponseBase

from api.exceptions import api_endpoint
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import resolve_model
from api.schemas.json_body import read_beside_loop
from api.streaming.stream_answer import JsonAnswer
from api.views.base import require_json
from api.views.tokenizing import token_sources
from api.views.tokenizing.token_bodies import read_detokenize_body, read_tokenize_body
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject


@api_endpoint("POST")
async def tokenize(request: LeanRequest) -> HttpResponseBase:
    """Answer with the tokens of a prompt or of messages, or at least with their number."""
    start_time = time.monotonic()
    gateway = request.gateway
    caller = await request.authenticate()
    require_json(request)
    body = await read_beside_loop(read_tokenize_body, await request.receive_body())
    model = resolve_model(gateway, caller, body["model"])
    token_request = token_sources.make_token_request(request.request_id, body)
    candidates = gateway.catalogue.list_candidates(model.public_id, caller.provider)
    token_list = await token_sources.tokenize_here(body, candidates)
    if token_list is None:
        token_list = await token_sources.tokenize_by_upstream(
            gateway, caller, token_request, candidates
        )
    is_estimated = token_list is None
    if token_list is None:
        token_list = await token_sources.estimate_tokens(body)
    answer: JsonObject = {
        "count": token_list.count,
        "max_model_len": token_list.max_model_len
        or gateway.catalogue.find_context_window(model.public_id),
        "tokens": token_list.tokens,
        "token_strs": token_list.token_strs,
    }
    if is_estimated:
        answer["estimated"] = True
    return JsonAnswer(orjson.dumps(answer), request.request_id, start_time)


@api_endpoint("POST")
async def detokenize(request: LeanRequest) -> HttpResponseBase:
    """Answer with the text of tokens; only where the vocabulary of the model is known."""
    start_time = time.monotonic()
    gateway = request.gateway
    caller = await request.authenticate()
    require_json(request)
    body = await read_beside_loop(read_detokenize_body, await request.receive_body())
    model = resolve_model(gateway, caller, body["model"])
    candidates = gateway.catalogue.list_candidates(model.public_id, caller.provider)
    try:
        text = await token_sources.detokenize_here(body["tokens"], candidates)
    except ValueError:
        raise InvalidRequest(
            "A number among the tokens is no token of this model.", param="tokens"
        ) from None
    if text is None:
        text = await token_sources.detokenize_by_upstream(
            gateway, caller, body["tokens"], candidates
        )
    if text is None:
        raise InvalidRequest(
            f"The tokens of the model {body['model']!r} are not known here, and no upstream of it "
            "turns them into text.",
            param="model",
            code="unsupported_parameter",
        )
    return JsonAnswer(orjson.dumps({"prompt": text}), request.request_id, start_time)
