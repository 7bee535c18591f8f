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
from api.exceptions import door
from api.idempotency.replay import idempotent
from api.relay import conversation_options, error_fields
from api.relay.error_fields import OwnPlaces
from api.relay.gateway import Gateway, LeanRequest
from api.schemas import chat_request_body
from api.schemas.json_body import read_beside_loop
from api.streaming.chat_renderer import Renderer
from api.streaming.stream_answer import JsonAnswer, Rendering, StreamAnswer, upstream_headers
from api.views.base import require_json
from conversations.files.attachments import attach
from conversations.history.recorder import Recalled
from conversations.prompts import fitted_answer
from conversations.strategies import strategy
from providers.catalogue import Candidate, Meaning
from providers.exceptions import GatewayError, InternalError, InvalidRequest, ModelNotFound
from providers.filters.file_parts import file_parts
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS, ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.caller_tokens import Borrowed

THINKING = {"parsed": "reasoning", "raw": "inline", "hidden": "hidden"}  # the keys are Groq's words


async def relay(
    request: LeanRequest, endpoint: str, forced: str = "", conversation: str = ""
) -> HttpResponseBase:
    """Answer one request, from its API key to its answer.

    `forced` names the strategy to use; `conversation` is the conversation of the path. Writes the
    usage record, and the turn when the request is to be remembered. Raises GatewayError.
    """
    gateway = request.gateway
    began = time.monotonic()
    gateway.ledger.require()
    caller = await request.authenticate()
    require_json(request)
    raw = await request.whole_body()
    body = await read_beside_loop(partial(chat_request_body.read, endpoint), raw)
    meant = meaning(gateway, caller, body["model"])
    caller.require_own_choice(body)
    if conversation:
        in_path(body, conversation)
    recalled = places = None
    try:
        if endpoint == CHAT and not chat_request_body.REMEMBERED.isdisjoint(body):
            places = error_fields.of_chat(body)
            recalled = await conversation_options.recalled(request, caller, body, meant, len(raw))
        paths = body.get("mpr_candidates")
        names = conversation_options.shown(body)
        asked = chat_request(request.request_id, endpoint, body, meant, recalled)
        thinking = Thinking(meant.public_id, len(raw), forced, paths)
        answered = await answering(gateway, caller, asked, thinking, recalled)
        renderer = Renderer(answered[0], names)
        return await render_answer(request, answered, renderer, places, began)
    except GatewayError as error:
        if places is not None:
            places.rename(error)
        raise


def meaning(gateway: Gateway, caller: Caller, name: str) -> Meaning:
    """Return the meaning of a model's name.

    Raises ModelNotFound, or Forbidden when the key may not use the model.
    """
    meant = gateway.catalogue.meaning(name)
    if meant is None:
        raise ModelNotFound(
            f"The model {name!r} does not exist or you have no access to it.", param="model"
        )
    caller.require(name, meant.public_id)
    return meant


class AnswerRenderer(Rendering, Protocol):
    """A renderer that makes the bytes of an answer, streamed or whole."""

    def whole(self, answer: Chunk, /) -> bytes: ...


class Thinking(NamedTuple):
    """The model that answers, the size of the request, and a strategy that replaces the model's."""

    public_id: str
    size_bytes: int = 0
    forced: str = ""
    paths: int | None = None


async def answering(
    gateway: Gateway,
    caller: Caller,
    asked: ChatRequest,
    thinking: Thinking,
    recalled: Recalled | None = None,
) -> tuple[Trace, Batches]:
    """Open the usage record of an accepted request, and return its trace and the answer's chunks.

    From now on the request will have a usage record, and its turn an end. Writes to the journal.
    When this fails, the turn is dropped. Raises GatewayError.
    """
    try:
        candidates = gateway.catalogue.candidates(thinking.public_id, asked, caller.provider)
        chat = asked.endpoint == CHAT
        filed = chat and next(file_parts(asked.body["messages"]), None) is not None
        if filed:
            candidates = await attach(asked.body, caller.user_id, candidates)
        if thinking.forced or thinking.paths:
            candidates = [
                thinking_up(one, thinking.forced or one.strategy, thinking.paths)
                for one in candidates
            ]
        pool = gateway.pool if not caller.tokens else Borrowed(gateway.pool, caller.tokens)
        trace = Trace(asked, caller.key_id, caller.user_id)
        if chat and (
            recalled is not None
            or filed
            or fitted_answer.may_be_long(thinking.size_bytes, candidates)
        ):
            place = place_of(gateway, caller, recalled)
            chunks = fitted_answer.answer(asked, candidates, pool, trace, place)
        else:
            chunks = strategy(candidates[0].strategy)(asked, candidates, pool, trace)
        gateway.ledger.open(trace)
    except BaseException:
        if recalled is not None:
            await gateway.history.drop(recalled.turn)
        raise
    batches = gateway.ledger.recorded(trace, chunks)
    if recalled is not None:
        batches = gateway.history.remember(recalled.turn, trace, batches)
    return trace, batches


def place_of(gateway: Gateway, caller: Caller, recalled: Recalled | None) -> fitted_answer.Place:
    """Return the place where long texts of the request are kept: their user and conversation."""
    conversation_id = recalled.turn.begun.conversation_id if recalled is not None else ""
    mine = caller.user_id if caller.stores else None
    return fitted_answer.Place(
        mine, conversation_id, gateway.embed, caller.user_id or caller.key_id
    )


async def in_conversation(request: LeanRequest, conversation: str) -> HttpResponseBase:
    """Answer a request that is a turn of the conversation in the path."""
    return await relay(request, CHAT, conversation=conversation)


def in_path(body: dict[str, Any], conversation: str) -> None:
    """Write the conversation of the path into the body.

    Raises InvalidRequest when the body names another one.
    """
    if any(
        body.get(field) not in (None, conversation) for field in ("conversation_id", "session_id")
    ):
        raise InvalidRequest(
            "The path names another conversation than the body.", param="conversation_id"
        )
    body["conversation_id"] = conversation


chat_completions = door("POST")(idempotent(partial(relay, endpoint=CHAT)))
conversation = door("POST")(idempotent(in_conversation))
chain_of_thought = door("POST")(
    idempotent(partial(relay, endpoint=CHAT, forced="stepwise"))
)  # the route of OpenKimi
completions = door("POST")(idempotent(partial(relay, endpoint=COMPLETIONS)))
embeddings = door("POST")(idempotent(partial(relay, endpoint=EMBEDDINGS)))


def thinking_up(candidate: Candidate, strategy: str, paths: int | None) -> Candidate:
    """Return the candidate with this strategy, and with this number of paths if it is multipath."""
    options = candidate.options if strategy == candidate.strategy else {}
    if strategy == "multipath" and paths:
        options = {**options, "candidates": paths}
    return replace(candidate, strategy=strategy, options=options)


def chat_request(
    request_id: str,
    endpoint: str,
    body: dict[str, Any],
    meant: Meaning,
    recalled: Recalled | None = None,
) -> ChatRequest:
    """Return the accepted request, and remove our own fields from the body."""
    own = {field: body.pop(field) for field in chat_request_body.OWN if field in body}
    options = body.get("stream_options") or {}
    conversation = (
        recalled.turn.begun.conversation_id if recalled is not None and recalled.goes_on else ""
    )
    return ChatRequest(
        id=request_id.removeprefix("req_"),
        endpoint=endpoint,
        model=body["model"],
        body=body,
        stream=endpoint != EMBEDDINGS and bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        thinking=THINKING.get(own.get("reasoning_format") or "", meant.thinking),
        search="on" if body.get("web_search_options") is not None else meant.search,
        conversation=conversation,
        keep=bool(conversation),
        resume=recalled.resume if recalled is not None else None,
    )


async def render_answer(
    request: LeanRequest,
    answered: tuple[Trace, Batches],
    renderer: AnswerRenderer,
    places: OwnPlaces | None,
    began: float,
) -> HttpResponseBase:
    """Return the answer as the caller wants it: a stream that has not begun, or one JSON body.

    The usage record of a whole answer is committed when this returns. `places` names the fields
    that an error may be about; `began` is on the monotonic clock. Raises GatewayError.
    """
    trace, batches = answered
    if trace.request.stream:
        heartbeat = request.gateway.heartbeat
        stream = StreamAnswer(batches, renderer, heartbeat, request.request_id)
        stream.places = places
        stream.trace = trace
        return stream
    answer = await read_only_chunk(batches)
    response = JsonAnswer(renderer.whole(answer), request.request_id, began)
    response.raw_headers += upstream_headers(trace)
    return response


async def read_only_chunk(batches: Batches) -> Chunk:
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
