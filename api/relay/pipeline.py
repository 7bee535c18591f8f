"""The path of an accepted request: model, candidates, strategy, records, and the answer.

`accept_request` makes the value that goes down the path. `start_answer` opens the records of the
request and returns the stream of its chunks. `render_answer` turns these into an HTTP response.
"""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from django.http import HttpResponseBase
from msgspec import Struct, structs

from api.authentication import Caller
from api.limits.reservation import Reservation
from api.relay.error_fields import FieldNames
from api.relay.gateway import Gateway
from api.relay.lean_request import LeanRequest
from api.relay.request_limits import reserve_request
from api.schemas import chat_request_body
from api.streaming.stream_answer import JsonAnswer, StreamAnswer, StreamRenderer, upstream_headers
from conversations.files.attachments import attach_files
from conversations.history.recorder import RecalledTurn
from conversations.prompts import fitted_answer
from conversations.server_tools.tool_loop import answer_with_tools
from conversations.server_tools.tool_plan import ToolPlan
from conversations.strategies import find_strategy
from providers.catalogue import Candidate, ResolvedModel
from providers.exceptions import InternalError, ModelNotFound
from providers.filters.file_parts import FILE_ID_FIELD, find_file_parts, has_file_parts
from providers.network.api_client import ApiClient
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.request import CHAT, EMBEDDINGS, ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.caller_tokens import CallerPool
from tokens.pool.pool import Pool

ANY_FUNCTION = {"type": "function", "function": {"name": "any"}}
# `reasoning_format` of a body (the values are Groq's) -> choices.Thinking
THINKING_BY_FORMAT = {"parsed": "reasoning", "raw": "inline", "hidden": "hidden"}


class AcceptedRequest(Struct, frozen=True):
    """A request with everything that decides how it is answered.

    `turn` is its turn when it is remembered. `forced_strategy` and `path_count` replace the
    strategy of the model's row, and its number of paths.
    """

    caller: Caller
    chat_request: ChatRequest
    model: ResolvedModel
    size_bytes: int  # of the body as it came
    turn: RecalledTurn | None = None
    forced_strategy: str = ""
    path_count: int | None = None
    client: str = ""  # the caller's program
    only_dialect: str = ""  # only upstreams that take the original body in it can answer
    tool_plan: ToolPlan | None = None  # the tools that the gateway runs


class StartedAnswer(NamedTuple):
    """The answer of an accepted request: its trace, and its chunks as they come."""

    trace: Trace
    batches: Batches


class AnswerRenderer(StreamRenderer, Protocol):
    """A renderer that makes the bytes of an answer, streamed or whole."""

    def render_whole(self, answer: Chunk, /) -> bytes: ...


def resolve_model(gateway: Gateway, caller: Caller, model_name: str) -> ResolvedModel:
    """Return the model that a name stands for.

    Raises ModelNotFound, or Forbidden when the key may not use the model.
    """
    model = gateway.catalogue.resolve_name(model_name)
    if model is None:
        raise ModelNotFound(
            f"The model {model_name!r} does not exist or you have no access to it.", param="model"
        )
    caller.require_model(model_name, model.public_id)
    return model


def build_chat_request(
    request_id: str,
    endpoint: str,
    body: Mapping[str, Any],
    model: ResolvedModel,
    turn: RecalledTurn | None = None,
) -> ChatRequest:
    """Return the request for the upstream, without the fields that only the gateway understands."""
    upstream_body = {
        name: value for name, value in body.items() if name not in chat_request_body.OWN_FIELDS
    }
    conversation = ""
    if turn is not None and turn.continues_conversation:
        conversation = turn.turn.turn_start.conversation_id
    stream_options = body.get("stream_options") or {}
    return ChatRequest(
        id=request_id.removeprefix("req_"),
        endpoint=endpoint,
        model=body["model"],
        body=upstream_body,
        stream=endpoint != EMBEDDINGS and bool(body.get("stream")),
        include_usage=bool(stream_options.get("include_usage")),
        thinking=THINKING_BY_FORMAT.get(body.get("reasoning_format") or "", model.thinking),
        search=model.search,
        wants_search=body.get("web_search_options") is not None,
        long_prompts=body.get("long_prompts") or "",
        conversation=conversation,
        wants_stored_chat=bool(conversation),
        resume=turn.resume if turn is not None else None,
    )


# --- start the answer -----------------------------------------------------------------------------
async def start_answer(gateway: Gateway, accepted: AcceptedRequest) -> StartedAnswer:
    """Open the usage record of an accepted request, and return its answer.

    From now on the request will have a usage record, and its turn an end. Writes to the journal.
    When this fails, the turn is deleted. Raises GatewayError.
    """
    reservation: Reservation | None = None
    try:
        request, candidates = await find_request_candidates(gateway, accepted)
        limits = accepted.caller.limits
        if limits is not None:
            reservation = await reserve_request(gateway, accepted, limits, candidates)
        trace, batches = start_strategy(gateway, accepted, request, candidates)
        if reservation is not None:
            trace.reservation = reservation
            trace.end_user_id = reservation.end_user_id
        gateway.ledger.open_record(trace)
    except BaseException:  # also when the caller left; the turn would stay open
        if reservation is not None:
            reservation.release()
        if accepted.turn is not None:
            await gateway.history.delete_refused_turn(accepted.turn.turn)
        raise
    batches = gateway.ledger.record_batches(trace, batches)
    if accepted.turn is not None:
        batches = gateway.history.record_turn(accepted.turn.turn, trace, batches)
    return StartedAnswer(trace, batches)


async def find_request_candidates(
    gateway: Gateway, accepted: AcceptedRequest
) -> tuple[ChatRequest, list[Candidate]]:
    """Return the request with its files in the messages, and the candidates that can take it.

    Raises GatewayError.
    """
    caller = accepted.caller
    request = accepted.chat_request
    checked_request = request
    if accepted.tool_plan is not None:  # its tools are not in the body yet
        checked_request = request.with_body({**request.body, "tools": [ANY_FUNCTION]})
    candidates = gateway.catalogue.find_candidates(
        accepted.model.public_id, checked_request, caller.provider
    )
    if accepted.only_dialect:
        candidates = [
            candidate
            for candidate in candidates
            if candidate.adapter.original_dialect == accepted.only_dialect
        ]
    if request.endpoint == CHAT and has_file_parts(request.body["messages"]):
        request, candidates = await attach_request_files(
            request, caller, candidates, gateway.clients.api
        )
    if accepted.forced_strategy or accepted.path_count:
        candidates = [replace_strategy(candidate, accepted) for candidate in candidates]
    return request, candidates


def start_strategy(
    gateway: Gateway,
    accepted: AcceptedRequest,
    request: ChatRequest,
    candidates: list[Candidate],
) -> StartedAnswer:
    """Return the answer of the model's strategy, over a prompt that fits. Raises GatewayError."""
    caller = accepted.caller
    pool: Pool = CallerPool(gateway.pool, caller.tokens) if caller.tokens else gateway.pool
    trace = Trace(request, caller.key_id, caller.user_id, caller.team_id, client=accepted.client)
    if accepted.tool_plan is not None:

        def answer_round(round_request: ChatRequest, round_trace: Trace) -> Batches:
            scope = build_prompt_scope(gateway, accepted)
            return fitted_answer.answer_fitted_prompt(
                round_request, candidates, pool, round_trace, scope
            )

        batches = answer_with_tools(accepted.tool_plan, request, trace, answer_round)
        return StartedAnswer(trace, batches)
    may_be_long = request.endpoint == CHAT and (
        accepted.turn is not None
        or request is not accepted.chat_request  # it has files
        or fitted_answer.may_be_long(accepted.size_bytes, candidates)
    )
    if may_be_long:
        scope = build_prompt_scope(gateway, accepted)
        batches = fitted_answer.answer_fitted_prompt(request, candidates, pool, trace, scope)
    else:
        batches = find_strategy(candidates[0].strategy)(request, candidates, pool, trace)
    return StartedAnswer(trace, batches)


async def attach_request_files(
    request: ChatRequest, caller: Caller, candidates: list[Candidate], client: ApiClient
) -> tuple[ChatRequest, list[Candidate]]:
    """Return the request with its files in the messages, and the candidates that take them.

    Raises InvalidRequest, DatabaseUnavailable, Saturated.
    """
    messages, candidates = await attach_files(
        request.body["messages"], caller.user_id, candidates, client
    )
    changed = request.with_body({**request.body, "messages": messages})
    if not any(FILE_ID_FIELD in part for _, part in find_file_parts(messages)):
        changed = structs.replace(changed, original=request.original)  # it has its files itself
    return changed, candidates


def replace_strategy(candidate: Candidate, accepted: AcceptedRequest) -> Candidate:
    """Return the candidate with the strategy and the number of paths that the request forces."""
    strategy = accepted.forced_strategy or candidate.strategy
    options = candidate.options if strategy == candidate.strategy else {}
    if strategy == "multipath" and accepted.path_count:
        options = {**options, "candidates": accepted.path_count}
    return replace(candidate, strategy=strategy, options=options)


def build_prompt_scope(gateway: Gateway, accepted: AcceptedRequest) -> fitted_answer.PromptScope:
    """Return the user and conversation to which long texts of the prompt belong."""
    caller = accepted.caller
    conversation_id = ""
    if accepted.turn is not None:
        conversation_id = accepted.turn.turn.turn_start.conversation_id
    return fitted_answer.PromptScope(
        caller.user_id if caller.can_store else None,
        conversation_id,
        gateway.embed,
        caller.user_id or caller.key_id,
    )


# --- render the answer ----------------------------------------------------------------------------
async def render_answer(
    request: LeanRequest,
    answer: StartedAnswer,
    renderer: AnswerRenderer,
    positions: FieldNames | None,
    start_time: float,
) -> HttpResponseBase:
    """Return the answer as the caller wants it: a stream that has not begun, or one JSON body.

    The usage record of a whole answer is committed when this returns. `positions` names the fields
    that an error may be about; `start_time` is on the monotonic clock. Raises GatewayError.
    """
    trace, batches = answer
    if trace.request.stream:
        heartbeat = request.gateway.heartbeat
        stream = StreamAnswer(batches, renderer, heartbeat, request.request_id)
        stream.message_positions = positions
        stream.trace = trace
        stream.limit_headers = request.list_limit_headers()
        return stream
    chunk = await read_single_chunk(batches)
    response = JsonAnswer(renderer.render_whole(chunk), request.request_id, start_time)
    response.raw_headers += upstream_headers(trace)
    response.raw_headers += request.list_limit_headers()
    return response


async def read_single_chunk(batches: Batches) -> Chunk:
    """Return the one chunk of an answer that does not stream.

    Raises InternalError when there is none.
    """
    chunk = None
    async with aclosing(batches):
        async for batch in batches:
            chunk = batch[0]
    if chunk is None:
        raise InternalError("The answer was empty.")
    return chunk
