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

THINKING = ("reasoning_content", "reasoning")
THOUGHT_END = "</think>"  # ends the thinking in a text


def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    if not tool_prompt.demands_call(request.body) or all(
        one.model.tools != "prompt" for one in candidates
    ):
        return failover.answer(request, candidates, pool, trace)
    return insisting(request, candidates, pool, trace)


async def insisting(
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
            if trace.attempts[-1].lacks_call:
                thought, rest = parted(batch)
                thoughts += thought
                first += rest
                batch = thought if request.stream else []
            if batch:
                yield batch
    if not first:
        return
    if not trace.may_go_on():
        yield continued(first, thoughts)
        return
    said = spoken(first)
    begun = False
    second = corrected(request, trace.attempts[-1], said)
    try:
        async with aclosing(failover.answer(second, candidates, pool, trace)) as batches:
            async for batch in batches:
                begun = True
                yield continued(batch, thoughts)
    except GatewayError:
        if begun:
            raise
        yield continued(first, thoughts)


def corrected(request: ChatRequest, attempt: Attempt, said: str) -> ChatRequest:
    """Return the same request with the model's text and a correction added."""
    messages = [
        *request.body["messages"],
        *([{"role": "assistant", "content": said}] if said else []),
    ]
    messages.append(
        {"role": "user", "content": tool_prompt.correction(tool_prompt.offer(request.body))}
    )
    resume = None
    if request.keep and attempt.token_id is not None and attempt.chat_id:
        resume = Resume(attempt.token_id, attempt.chat_id, attempt.parent_id)
    return msgspec.structs.replace(
        request, body={**request.body, "messages": messages}, resume=resume
    )


# --- answers with one choice, streamed or whole ---------------------------------------------------
def said_in(chunk: Chunk) -> dict[str, Any]:
    """Return the delta or message of the chunk's choice, empty when it has none."""
    choice = chunk["choices"][0] if chunk["choices"] else {}
    found: dict[str, Any] = choice.get("delta") or choice.get("message") or {}
    return found


def spoken(chunks: Sequence[Chunk]) -> str:
    return "".join(said_in(chunk).get("content") or "" for chunk in chunks)


def parted(batch: Sequence[Chunk]) -> tuple[list[Chunk], list[Chunk]]:
    """Split an answer that lacks its call into its thinking, which is relayed, and the rest."""
    left = spoken(batch).find(THOUGHT_END) + len(THOUGHT_END) if THOUGHT_END in spoken(batch) else 0
    thoughts: list[Chunk] = []
    rest: list[Chunk] = []
    for chunk in batch:
        said = said_in(chunk)
        content = said_in(chunk).get("content") or ""
        thought = {name: value for name, value in said.items() if name in (*THINKING, "role")}
        if left and content:
            thought["content"] = content[:left]
        if thought:
            thoughts.append(saying({**chunk, "usage": None}, thought, ends=False))
        other = {name: value for name, value in said.items() if name not in THINKING}
        rest.append(saying(chunk, other | ({"content": content[left:]} if content else {})))
        left = max(0, left - len(content))
    return thoughts, rest


def saying(chunk: Chunk, said: dict[str, Any], *, ends: bool = True) -> Chunk:
    """Return the chunk with another delta or message.

    The finish reason is removed unless `ends`.
    """
    if not chunk["choices"]:
        return chunk
    choice, *others = chunk["choices"]
    name = "message" if "message" in choice else "delta"
    reason = choice["finish_reason"] if ends else None
    return {**chunk, "choices": [{**choice, name: said, "finish_reason": reason}, *others]}


def continued(batch: Sequence[Chunk], thoughts: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks that follow `thoughts` in the same answer."""
    told = []
    for chunk in batch:
        said = said_in(chunk)
        if chunk["choices"] and "message" in chunk["choices"][0]:
            for field in (*THINKING, "content"):
                if before := "".join(said_in(one).get(field) or "" for one in thoughts):
                    said = said | {field: before + (said.get(field) or "")}
        else:  # the role was sent before
            said = {name: value for name, value in said.items() if name != "role"}
        told.append(saying(chunk, said))
    return told
