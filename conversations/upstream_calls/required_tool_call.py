"""Call the upstream, and once more when the model had to call a tool and did not.

This is only for models whose tools are described in the prompt.
"""

from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from providers.catalogue import Candidate
from providers.exceptions import GatewayError
from providers.filters.prompted_tools import tool_prompt
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest, Resume
from providers.protocol.trace import Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

THINKING_KEYS = ("reasoning_content", "reasoning")
THOUGHT_KEYS = (*THINKING_KEYS, "role")  # the fields of a chunk with thinking
THOUGHT_END = "</think>"  # ends the thinking in a text


def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the answer; watch for its tool call where a prompted tool must be called."""
    if tool_prompt.may_require_call(request.body) and any(
        candidate.model.tools == "prompt" for candidate in candidates
    ):
        return answer_with_correction(request, candidates, pool, trace)
    return failover.answer(request, candidates, pool, trace)


async def answer_with_correction(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Relay the answer; if it lacks its call, relay its thinking and the answer to a correction.

    When the second call fails or is not allowed, the first answer is relayed after all. Raises
    GatewayError.
    """
    thoughts: list[Chunk] = []
    held_chunks: list[Chunk] = []  # the rest of an answer that lacks its call
    async with aclosing(failover.answer(request, candidates, pool, trace)) as batches:
        async for batch in batches:
            if trace.attempts[-1].lacks_tool_call:
                thought_chunks, other_chunks = split_thinking(batch)
                thoughts += thought_chunks
                held_chunks += other_chunks
                batch = thought_chunks if request.stream else []
            if batch:
                yield batch
    if not held_chunks:
        return
    if not trace.claim_next_call():
        yield render_continuation(held_chunks, thoughts)
        return
    has_begun = False
    correction = make_correction_request(request, trace.attempts[-1], join_answer_text(held_chunks))
    try:
        async with aclosing(failover.answer(correction, candidates, pool, trace)) as batches:
            async for batch in batches:
                has_begun = True
                yield render_continuation(batch, thoughts)
    except GatewayError:
        if has_begun:
            raise
        yield render_continuation(held_chunks, thoughts)


def make_correction_request(
    request: ChatRequest, attempt: Attempt, answer_text: str
) -> ChatRequest:
    """Return the same request with the model's text and a correction added."""
    messages = list(request.body["messages"])
    if answer_text:
        messages.append({"role": "assistant", "content": answer_text})
    correction = tool_prompt.render_correction(tool_prompt.read_tool_offer(request.body))
    messages.append({"role": "user", "content": correction})
    resume = None
    if request.wants_stored_chat and attempt.token_id is not None and attempt.chat_id:
        resume = Resume(attempt.token_id, attempt.chat_id, attempt.parent_id)
    return msgspec.structs.replace(
        request, body={**request.body, "messages": messages}, resume=resume
    )


# --- answers with one choice, streamed or whole ---------------------------------------------------
def read_choice_message(chunk: Chunk) -> JsonObject:
    """Return the delta or message of the chunk's choice, empty when it has none."""
    if not chunk["choices"]:
        return {}
    choice = chunk["choices"][0]
    message: JsonObject = choice.get("delta") or choice.get("message") or {}
    return message


def join_answer_text(chunks: Sequence[Chunk]) -> str:
    return "".join(read_choice_message(chunk).get("content") or "" for chunk in chunks)


def split_thinking(batch: Sequence[Chunk]) -> tuple[list[Chunk], list[Chunk]]:
    """Split an answer that lacks its call into its thinking, which is relayed, and the rest."""
    before, thought_end, _ = join_answer_text(batch).partition(THOUGHT_END)
    thought_chars = len(before) + len(thought_end) if thought_end else 0
    thoughts: list[Chunk] = []
    others: list[Chunk] = []
    for chunk in batch:
        thought, other = split_message(read_choice_message(chunk), thought_chars)
        if thought:
            thoughts.append(
                replace_choice_message({**chunk, "usage": None}, thought, keep_finish_reason=False)
            )
        others.append(replace_choice_message(chunk, other))
        thought_chars = max(0, thought_chars - len(join_answer_text([chunk])))
    return thoughts, others


def split_message(message: JsonObject, thought_chars: int) -> tuple[JsonObject, JsonObject]:
    """Split a message into its thinking, with `thought_chars` of its text, and the rest."""
    thought = {name: value for name, value in message.items() if name in THOUGHT_KEYS}
    other = {name: value for name, value in message.items() if name not in THINKING_KEYS}
    if content := message.get("content"):
        other["content"] = content[thought_chars:]
        if thought_chars:
            thought["content"] = content[:thought_chars]
    return thought, other


def replace_choice_message(
    chunk: Chunk, new_message: JsonObject, *, keep_finish_reason: bool = True
) -> Chunk:
    """Return the chunk with another delta or message.

    The finish reason is removed unless `keep_finish_reason`.
    """
    if not chunk["choices"]:
        return chunk
    choice, *others = chunk["choices"]
    field = "message" if "message" in choice else "delta"
    choice = {**choice, field: new_message}
    if not keep_finish_reason:
        choice["finish_reason"] = None
    return {**chunk, "choices": [choice, *others]}


def render_continuation(batch: Sequence[Chunk], thoughts: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks that follow `thoughts` in the same answer."""
    return [replace_choice_message(chunk, continue_message(chunk, thoughts)) for chunk in batch]


def continue_message(chunk: Chunk, thoughts: Sequence[Chunk]) -> JsonObject:
    """Return the chunk's message with the thoughts in front.

    In a stream the thoughts and the role were sent before, so its delta has neither.
    """
    message = read_choice_message(chunk)
    if not chunk["choices"] or "message" not in chunk["choices"][0]:
        return {name: value for name, value in message.items() if name != "role"}
    continued = dict(message)
    for field in (*THINKING_KEYS, "content"):
        preceding = "".join(read_choice_message(thought).get(field) or "" for thought in thoughts)
        if preceding:
            continued[field] = preceding + (message.get(field) or "")
    return continued
