"""The relaying doors: chat completions, legacy completions, embeddings. One path for all three (house rules: no
query, no thread).
"""

import random
import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from django.http import HttpResponseBase

from api import schemas
from api.exceptions import door
from api.gateway import LeanRequest
from api.openai import Renderer
from api.streaming import JsonAnswer, StreamAnswer
from conversations.attachments import attach
from conversations.strategies import strategy
from providers.catalogue import Candidate, Meaning
from providers.chat import CHAT, COMPLETIONS, EMBEDDINGS, Batches, ChatRequest, Trace
from providers.exceptions import InternalError, ModelNotFound, UnsupportedMediaType
from providers.filters.attachments import file_parts
from tokens.borrowed import Borrowed

THINKING = {"parsed": "reasoning", "raw": "inline", "hidden": "hidden"}  # Groq's words for it


async def relay(request: LeanRequest, endpoint: str, forced: str = "") -> HttpResponseBase:
    """One request from key to answer, by the strategy `forced` if one is given. Raises GatewayError."""
    gateway, began = request.gateway, time.monotonic()
    gateway.ledger.require()
    caller = await gateway.keyring.caller(request.META)
    if request.content_type not in ("application/json", ""):
        raise UnsupportedMediaType("Send the body as application/json.")
    body = schemas.read(endpoint, await request.whole_body())
    name, paths = body["model"], body.get("mpr_candidates")
    meant = gateway.catalogue.meaning(name)
    if meant is None:
        raise ModelNotFound(f"The model {name!r} does not exist or you have no access to it.", param="model")
    caller.require(name, meant.public_id)
    asked = chat_request(request.request_id, endpoint, body, meant, caller.user_id)
    candidates = gateway.catalogue.candidates(meant.public_id, asked, caller.provider)
    if endpoint == CHAT and next(file_parts(body["messages"]), None) is not None:
        candidates = await attach(body, caller.user_id, candidates)
    if forced or paths:
        candidates = [thinking_up(one, forced or one.strategy, paths) for one in candidates]
    pool = gateway.pool if not caller.tokens else Borrowed(gateway.pool, caller.tokens)
    trace = Trace(asked, caller.key_id, caller.user_id)
    chunks = strategy(candidates[0].strategy)(asked, candidates, pool, trace)
    gateway.ledger.open(trace)
    batches = gateway.ledger.recorded(trace, chunks)
    if asked.stream:
        return StreamAnswer(batches, Renderer(trace), gateway.heartbeat, request.request_id)
    return await whole(batches, trace, request.request_id, began)


chat_completions = door("POST")(partial(relay, endpoint=CHAT))
chain_of_thought = door("POST")(partial(relay, endpoint=CHAT, forced="stepwise"))  # OpenKimi's route
completions = door("POST")(partial(relay, endpoint=COMPLETIONS))
embeddings = door("POST")(partial(relay, endpoint=EMBEDDINGS))


def thinking_up(candidate: Candidate, strategy: str, paths: int | None) -> Candidate:
    """The candidate with this strategy and number of paths, where its strategy has paths."""
    options = candidate.options if strategy == candidate.strategy else {}
    if strategy == "multipath" and paths:
        options = {**options, "candidates": paths}
    return replace(candidate, strategy=strategy, options=options)


def chat_request(
    request_id: str,
    endpoint: str,
    body: dict[str, Any],
    meant: Meaning,
    user_id: int | None,
) -> ChatRequest:
    """The accepted request; fields that are ours are taken out of the body."""
    own = {field: body.pop(field) for field in schemas.OWN if field in body}
    options = body.get("stream_options") or {}
    conversation = own.get("conversation_id") or own.get("session_id")
    return ChatRequest(
        id=request_id.removeprefix("req_"),
        endpoint=endpoint,
        model=body["model"],
        body=body,
        stream=endpoint != EMBEDDINGS and bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        thinking=THINKING.get(own.get("reasoning_format") or "", meant.thinking),
        search="on" if body.get("web_search_options") is not None else meant.search,
        conversation=f"{user_id} {conversation}" if conversation else "",
    )


async def whole(batches: Batches, trace: Trace, request_id: str, began: float) -> JsonAnswer:
    """The answer to a request that does not stream; its row is committed when this returns."""
    answer = None
    async with aclosing(batches):
        async for batch in batches:
            answer = batch[0]
    if answer is None:
        raise InternalError("The answer was empty.")
    return JsonAnswer(Renderer(trace).whole(answer), request_id, began)


def new_request_id() -> str:
    """`req_` and a UUIDv7 (RFC 9562): 48 bits of milliseconds, then random, so that ids sort by time."""
    millis, noise = time.time_ns() // 1_000_000, random.getrandbits(74)
    number = (millis << 80) | (0x7 << 76) | ((noise >> 62) << 64) | (0b10 << 62) | (noise & (2**62 - 1))
    return f"req_{number:032x}"
