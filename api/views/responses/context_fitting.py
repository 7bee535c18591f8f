"""The context of a response request, made smaller where the request asks for it.

`context_management` has a model write a summary when the input has more tokens than its threshold.
The summary takes the place of all but the caller's messages and the end, and comes as a compaction
item in front of the answer. It is one upstream call with a usage record of its own. An input that
ends with a `compaction_trigger` gets nothing but a compaction. `truncation: "auto"` drops the
oldest turns that do not fit. Source: OpenAI's API reference, "Create a response"; its guide
"Compaction".
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from api.authentication import Caller
from api.relay import conversation_options
from api.relay.lean_request import LeanRequest, new_request_id
from api.relay.pipeline import read_single_chunk, start_answer
from api.responses.request import compaction_body, to_chat
from api.schemas.json_body import call_beside_loop
from api.views.responses.compaction import CompactionRequest, accept_compaction, make_empty_error
from conversations.messages.chat_to_items import entries_from_messages
from conversations.messages.items_to_chat import COMPACTION_NOTICE
from conversations.prompts.compaction import make_compaction_messages, read_summary
from conversations.prompts.drop_oldest import drop_oldest_turns, estimate_prompt_tokens
from providers.catalogue import ResolvedModel
from providers.protocol.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class FittedContext:
    """The messages for the upstream, and the summary of what they lack, if one was written."""

    messages: list[JsonObject]
    summary: str = ""


@dataclass(frozen=True, slots=True)
class WholeContext:
    """A request's body and all its messages; `size_bytes` is about the size of these."""

    body: JsonObject
    messages: list[JsonObject]
    size_bytes: int


async def fit_context(
    request: LeanRequest, caller: Caller, model: ResolvedModel, context: WholeContext
) -> FittedContext:
    """Return the context as the request wants it. Raises GatewayError."""
    body = context.body
    if not body.get("context_management") and body.get("truncation") != "auto":
        return FittedContext(context.messages)
    window = request.gateway.catalogue.find_context_window(model.public_id)
    messages = context.messages
    summary = ""
    threshold = find_threshold(body, window)
    if threshold is not None and can_be_compacted(messages):
        measure = partial(estimate_prompt_tokens, messages)
        if await call_beside_loop(context.size_bytes, measure) > threshold:
            summary = await write_summary(request, caller, model, context)
            messages = replace_by_summary(messages, summary)
    if body.get("truncation") == "auto" and window:
        room = conversation_options.prompt_budget_tokens(window, body)
        room -= estimate_prompt_tokens(to_chat.build_instructions(body))
        drop = partial(drop_oldest_turns, messages, room)
        messages = await call_beside_loop(context.size_bytes, drop)
    return FittedContext(messages, summary)


def find_threshold(body: JsonObject, window: int | None) -> int | None:
    """Return beyond how many tokens the input is compacted; None: never.

    Without a threshold of the request it is what a prompt may have in the model's window.
    """
    for entry in body.get("context_management") or ():
        threshold: int | None = entry.get("compact_threshold")
        if threshold is not None:
            return threshold
        if window:
            return conversation_options.prompt_budget_tokens(window, body)
    return None


def can_be_compacted(messages: Sequence[JsonObject]) -> bool:
    """Return whether a summary would take the place of anything: the caller's messages stay."""
    return any(message["role"] in ("assistant", "tool") for message in messages)


async def write_summary(
    request: LeanRequest, caller: Caller, model: ResolvedModel, context: WholeContext
) -> str:
    """Have the model write the summary of all messages.

    Writes a usage record of its own. Raises GatewayError.
    """
    own_request = copy.copy(request)
    own_request.request_id = new_request_id()
    items = await call_beside_loop(
        context.size_bytes, partial(entries_from_messages, context.messages)
    )
    compaction = CompactionRequest(context.body, model, list(items))
    accepted = accept_compaction(own_request, caller, compaction)
    answer = await start_answer(request.gateway, accepted)
    return read_summary(await read_single_chunk(answer.batches))


def replace_by_summary(messages: Sequence[JsonObject], summary: str) -> list[JsonObject]:
    """Return the caller's messages, the summary, and the end of the conversation as it is."""
    end = find_end(messages)
    callers = [
        message for message in messages[:end] if message["role"] not in ("assistant", "tool")
    ]
    notice: JsonObject = {"role": "user", "content": COMPACTION_NOTICE + summary}
    return [*callers, notice, *messages[end:]]


def find_end(messages: Sequence[JsonObject]) -> int:
    """Return where the end begins that is to be answered: last messages, or calls with outputs."""
    open_calls: set[str] = set()
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if message["role"] == "tool":
            open_calls.add(message.get("tool_call_id") or "")
            continue
        open_calls -= {call.get("id") for call in message.get("tool_calls") or ()}
        has_more = place > 0 and messages[place - 1]["role"] == message["role"] == "user"
        if not open_calls and not has_more:
            return place
    return 0


def build_trigger_body(body: JsonObject, messages: Sequence[JsonObject]) -> JsonObject:
    """Return the chat body of a request that only asks for a compaction.

    Raises InvalidRequest when there is nothing to compact.
    """
    instructions = to_chat.build_instructions(body)
    asked = make_compaction_messages(entries_from_messages(messages), instructions)
    if not asked:
        raise make_empty_error()
    chat_body = compaction_body.build_chat_body(body, asked)
    return {**chat_body, "stream": bool(body.get("stream"))}
