"""The relaying endpoints: chat completions, conversations, legacy completions and embeddings.

All take the same path. It makes no query and uses no thread unless a request is to be remembered.
"""

import random
import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

from django.http import HttpResponseBase

from api.authentication import Caller
from api.exceptions import api_endpoint
from api.idempotency.replay import make_idempotent
from api.relay import conversation_options, error_fields
from api.relay.error_fields import MessagePositions
from api.relay.gateway import Gateway, LeanRequest
from api.schemas import chat_request_body
from api.schemas.json_body import read_beside_loop
from api.streaming.chat_renderer import ChatRenderer
from api.streaming.stream_answer import JsonAnswer, StreamAnswer, StreamRenderer, upstream_headers
from api.views.base import require_json
from conversations.files.attachments import attach_files
from conversations.history.recorder import RecalledTurn
from conversations.prompts import fitted_answer
from conversations.strategies import find_strategy
from providers.catalogue import Candidate, ResolvedModel
from providers.exceptions import GatewayError, InternalError, InvalidRequest, ModelNotFound
from providers.filters.file_parts import find_file_parts
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS, ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.caller_tokens import CallerPool

THINKING_BY_FORMAT = {
    "parsed": "reasoning",
    "raw": "inline",
    "hidden": "hidden",
}  # the keys are Groq's words


async def relay_request(
    request: LeanRequest, endpoint: str, forced_strategy: str = "", conversation_id: str = ""
) -> HttpResponseBase:
    """Answer one request, from its API key to its answer.

    `forced_strategy` names the strategy to use; `conversation_id` is the conversation of the path.
    Writes the usage record, and the turn when the request is to be remembered. Raises GatewayError.
    """
    gateway = request.gateway
    began = time.monotonic()
    gateway.ledger.require_available()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.receive_body()
    body = await read_beside_loop(partial(chat_request_body.read_request_body, endpoint), raw)
    meant = resolve_model(gateway, caller, body["model"])
    caller.reject_model_choice(body)
    if conversation_id:
        set_path_conversation(body, conversation_id)
    recalled = places = None
    try:
        if endpoint == CHAT and not chat_request_body.CONVERSATION_FIELDS.isdisjoint(body):
            places = error_fields.locate_chat_messages(body)
            recalled = await conversation_options.start_chat_turn(
                request, caller, body, meant, len(raw)
            )
        paths = body.get("mpr_candidates")
        names = conversation_options.read_conversation_fields(body)
        asked = build_chat_request(request.request_id, endpoint, body, meant, recalled)
        thinking = AnswerOptions(meant.public_id, len(raw), forced_strategy, paths)
        answered = await start_answer(gateway, caller, asked, thinking, recalled)
        renderer = ChatRenderer(answered[0], names)
        return await render_answer(request, answered, renderer, places, began)
    except GatewayError as error:
        if places is not None:
            places.rename_param(error)
        raise


def resolve_model(gateway: Gateway, caller: Caller, model_name: str) -> ResolvedModel:
    """Return the meaning of a model's name.

    Raises ModelNotFound, or Forbidden when the key may not use the model.
    """
    meant = gateway.catalogue.resolve_name(model_name)
    if meant is None:
        raise ModelNotFound(
            f"The model {model_name!r} does not exist or you have no access to it.", param="model"
        )
    caller.require_model(model_name, meant.public_id)
    return meant


class AnswerRenderer(StreamRenderer, Protocol):
    """A renderer that makes the bytes of an answer, streamed or whole."""

    def render_whole(self, answer: Chunk, /) -> bytes: ...


class AnswerOptions(NamedTuple):
    """The model that answers, the size of the request, and a strategy that replaces the model's."""

    public_id: str
    size_bytes: int = 0
    forced_strategy: str = ""
    path_count: int | None = None


async def start_answer(
    gateway: Gateway,
    caller: Caller,
    chat_request: ChatRequest,
    answer_options: AnswerOptions,
    recalled_turn: RecalledTurn | None = None,
) -> tuple[Trace, Batches]:
    """Open the usage record of an accepted request, and return its trace and the answer's chunks.

    From now on the request will have a usage record, and its turn an end. Writes to the journal.
    When this fails, the turn is dropped. Raises GatewayError.
    """
    try:
        candidates = gateway.catalogue.find_candidates(
            answer_options.public_id, chat_request, caller.provider
        )
        chat = chat_request.endpoint == CHAT
        filed = chat and next(find_file_parts(chat_request.body["messages"]), None) is not None
        if filed:
            candidates = await attach_files(chat_request.body, caller.user_id, candidates)
        if answer_options.forced_strategy or answer_options.path_count:
            candidates = [
                replace_strategy(
                    one, answer_options.forced_strategy or one.strategy, answer_options.path_count
                )
                for one in candidates
            ]
        pool = gateway.pool if not caller.tokens else CallerPool(gateway.pool, caller.tokens)
        trace = Trace(chat_request, caller.key_id, caller.user_id)
        if chat and (
            recalled_turn is not None
            or filed
            or fitted_answer.may_be_long(answer_options.size_bytes, candidates)
        ):
            place = build_document_key(gateway, caller, recalled_turn)
            chunks = fitted_answer.answer_fitted_prompt(
                chat_request, candidates, pool, trace, place
            )
        else:
            chunks = find_strategy(candidates[0].strategy)(chat_request, candidates, pool, trace)
        gateway.ledger.open_record(trace)
    except BaseException:
        if recalled_turn is not None:
            await gateway.history.delete_refused_turn(recalled_turn.turn)
        raise
    batches = gateway.ledger.record_batches(trace, chunks)
    if recalled_turn is not None:
        batches = gateway.history.record_turn(recalled_turn.turn, trace, batches)
    return trace, batches


def build_document_key(
    gateway: Gateway, caller: Caller, recalled_turn: RecalledTurn | None
) -> fitted_answer.PromptScope:
    """Return the place where long texts of the request are kept: their user and conversation."""
    conversation_id = (
        recalled_turn.turn.turn_start.conversation_id if recalled_turn is not None else ""
    )
    mine = caller.user_id if caller.can_store else None
    return fitted_answer.PromptScope(
        mine, conversation_id, gateway.embed, caller.user_id or caller.key_id
    )


async def relay_in_conversation(request: LeanRequest, conversation: str) -> HttpResponseBase:
    """Answer a request that is a turn of the conversation in the path."""
    return await relay_request(request, CHAT, conversation_id=conversation)


def set_path_conversation(body: dict[str, Any], conversation_id: str) -> None:
    """Write the conversation of the path into the body.

    Raises InvalidRequest when the body names another one.
    """
    if any(
        body.get(field) not in (None, conversation_id)
        for field in ("conversation_id", "session_id")
    ):
        raise InvalidRequest(
            "The path names another conversation than the body.", param="conversation_id"
        )
    body["conversation_id"] = conversation_id


chat_completions = api_endpoint("POST")(make_idempotent(partial(relay_request, endpoint=CHAT)))
conversation_completions = api_endpoint("POST")(make_idempotent(relay_in_conversation))
chain_of_thought = api_endpoint("POST")(
    make_idempotent(partial(relay_request, endpoint=CHAT, forced_strategy="stepwise"))
)  # the route of OpenKimi
completions = api_endpoint("POST")(make_idempotent(partial(relay_request, endpoint=COMPLETIONS)))
embeddings = api_endpoint("POST")(make_idempotent(partial(relay_request, endpoint=EMBEDDINGS)))


def replace_strategy(candidate: Candidate, strategy: str, path_count: int | None) -> Candidate:
    """Return the candidate with this strategy, and with this number of paths if it is multipath."""
    options = candidate.options if strategy == candidate.strategy else {}
    if strategy == "multipath" and path_count:
        options = {**options, "candidates": path_count}
    return replace(candidate, strategy=strategy, options=options)


def build_chat_request(
    request_id: str,
    endpoint: str,
    body: dict[str, Any],
    resolved_model: ResolvedModel,
    recalled_turn: RecalledTurn | None = None,
) -> ChatRequest:
    """Return the accepted request, and remove our own fields from the body."""
    own = {field: body.pop(field) for field in chat_request_body.OWN_FIELDS if field in body}
    options = body.get("stream_options") or {}
    conversation = (
        recalled_turn.turn.turn_start.conversation_id
        if recalled_turn is not None and recalled_turn.continues_conversation
        else ""
    )
    return ChatRequest(
        id=request_id.removeprefix("req_"),
        endpoint=endpoint,
        model=body["model"],
        body=body,
        stream=endpoint != EMBEDDINGS and bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        thinking=THINKING_BY_FORMAT.get(own.get("reasoning_format") or "", resolved_model.thinking),
        search="on" if body.get("web_search_options") is not None else resolved_model.search,
        conversation=conversation,
        wants_stored_chat=bool(conversation),
        resume=recalled_turn.resume if recalled_turn is not None else None,
    )


async def render_answer(
    request: LeanRequest,
    trace_and_batches: tuple[Trace, Batches],
    renderer: AnswerRenderer,
    places: MessagePositions | None,
    start_time: float,
) -> HttpResponseBase:
    """Return the answer as the caller wants it: a stream that has not begun, or one JSON body.

    The usage record of a whole answer is committed when this returns. `places` names the fields
    that an error may be about; `start_time` is on the monotonic clock. Raises GatewayError.
    """
    trace, batches = trace_and_batches
    if trace.request.stream:
        heartbeat = request.gateway.heartbeat
        stream = StreamAnswer(batches, renderer, heartbeat, request.request_id)
        stream.message_positions = places
        stream.trace = trace
        return stream
    answer = await read_single_chunk(batches)
    response = JsonAnswer(renderer.render_whole(answer), request.request_id, start_time)
    response.raw_headers += upstream_headers(trace)
    return response


async def read_single_chunk(batches: Batches) -> Chunk:
    """Return the one chunk of an answer that does not stream.

    Raises InternalError when there is none.
    """
    answer = None
    async with aclosing(batches):
        async for batch in batches:
            answer = batch[0]
    if answer is None:
        raise InternalError("The answer was empty.")
    return answer


def new_request_id() -> str:
    """Return a new request id: `req_` and a UUIDv7.

    A UUIDv7 (RFC 9562) has 48 bits of milliseconds and then random bits, so that ids sort by time.
    """
    millis = time.time_ns() // 1_000_000
    noise = random.getrandbits(74)
    number = (
        (millis << 80) | (0x7 << 76) | ((noise >> 62) << 64) | (0b10 << 62) | (noise & (2**62 - 1))
    )
    return f"req_{number:032x}"
