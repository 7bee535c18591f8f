"""Call the upstream, and once more when the model had to call a tool and did not.

This is only for models whose tools are described in the prompt.
"""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from providers.catalogue import Candidate
from providers.exceptions import GatewayError
from providers.filters.prompted_tools import tool_prompt
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.request import ChatRequest, Resume
from providers.protocol.trace import Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

THINKING_KEYS = ("reasoning_content", "reasoning")
THOUGHT_END = "</think>"  # ends the thinking in a text


def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    if not tool_prompt.may_require_call(request.body) or all(
        one.model.tools != "prompt" for one in candidates
    ):
        return failover.answer(request, candidates, pool, trace)
    return answer_with_correction(request, candidates, pool, trace)


async def answer_with_correction(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Relay the answer; if it lacks its call, relay its thinking and the answer to a correction.

    When the second call fails or is not allowed, the first answer is relayed after all. Raises
    GatewayError.
    """
    first: list[Chunk] = []
    thoughts: list[Chunk] = []
    async with aclosing(failover.answer(request, candidates, pool, trace)) as batches:
        async for batch in batches:
            if trace.attempts[-1].lacks_tool_call:
                thought, rest = split_thinking(batch)
                thoughts += thought
                first += rest
                batch = thought if request.stream else []
            if batch:
                yield batch
    if not first:
        return
    if not trace.claim_next_call():
        yield render_continuation(first, thoughts)
        return
    said = join_answer_text(first)
    begun = False
    second = make_correction_request(request, trace.attempts[-1], said)
    try:
        async with aclosing(failover.answer(second, candidates, pool, trace)) as batches:
            async for batch in batches:
                begun = True
                yield render_continuation(batch, thoughts)
    except GatewayError:
        if begun:
            raise
        yield render_continuation(first, thoughts)


def make_correction_request(
    request: ChatRequest, attempt: Attempt, answer_text: str
) -> ChatRequest:
    """Return the same request with the model's text and a correction added."""
    messages = [
        *request.body["messages"],
        *([{"role": "assistant", "content": answer_text}] if answer_text else []),
    ]
    messages.append(
        {
            "role": "user",
            "content": tool_prompt.render_correction(tool_prompt.read_tool_offer(request.body)),
        }
    )
    resume = None
    if request.wants_stored_chat and attempt.token_id is not None and attempt.chat_id:
        resume = Resume(attempt.token_id, attempt.chat_id, attempt.parent_id)
    return msgspec.structs.replace(
        request, body={**request.body, "messages": messages}, resume=resume
    )


# --- answers with one choice, streamed or whole ---------------------------------------------------
def read_choice_message(chunk: Chunk) -> dict[str, Any]:
    """Return the delta or message of the chunk's choice, empty when it has none."""
    choice = chunk["choices"][0] if chunk["choices"] else {}
    found: dict[str, Any] = choice.get("delta") or choice.get("message") or {}
    return found


def join_answer_text(chunks: Sequence[Chunk]) -> str:
    return "".join(read_choice_message(chunk).get("content") or "" for chunk in chunks)


def split_thinking(batch: Sequence[Chunk]) -> tuple[list[Chunk], list[Chunk]]:
    """Split an answer that lacks its call into its thinking, which is relayed, and the rest."""
    left = (
        join_answer_text(batch).find(THOUGHT_END) + len(THOUGHT_END)
        if THOUGHT_END in join_answer_text(batch)
        else 0
    )
    thoughts: list[Chunk] = []
    rest: list[Chunk] = []
    for chunk in batch:
        said = read_choice_message(chunk)
        content = read_choice_message(chunk).get("content") or ""
        thought = {name: value for name, value in said.items() if name in (*THINKING_KEYS, "role")}
        if left and content:
            thought["content"] = content[:left]
        if thought:
            thoughts.append(
                replace_choice_message({**chunk, "usage": None}, thought, keep_finish_reason=False)
            )
        other = {name: value for name, value in said.items() if name not in THINKING_KEYS}
        rest.append(
            replace_choice_message(chunk, other | ({"content": content[left:]} if content else {}))
        )
        left = max(0, left - len(content))
    return thoughts, rest


def replace_choice_message(
    chunk: Chunk, new_message: dict[str, Any], *, keep_finish_reason: bool = True
) -> Chunk:
    """Return the chunk with another delta or message.

    The finish reason is removed unless `keep_finish_reason`.
    """
    if not chunk["choices"]:
        return chunk
    choice, *others = chunk["choices"]
    name = "message" if "message" in choice else "delta"
    reason = choice["finish_reason"] if keep_finish_reason else None
    return {**chunk, "choices": [{**choice, name: new_message, "finish_reason": reason}, *others]}


def render_continuation(batch: Sequence[Chunk], thoughts: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks that follow `thoughts` in the same answer."""
    told = []
    for chunk in batch:
        said = read_choice_message(chunk)
        if chunk["choices"] and "message" in chunk["choices"][0]:
            for field in (*THINKING_KEYS, "content"):
                if before := "".join(read_choice_message(one).get(field) or "" for one in thoughts):
                    said = said | {field: before + (said.get(field) or "")}
        else:  # the role was sent before
            said = {name: value for name, value in said.items() if name != "role"}
        told.append(replace_choice_message(chunk, said))
    return told
