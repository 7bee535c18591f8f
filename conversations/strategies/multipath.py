"""Plan, answer several times at once, and merge: OpenKimi's multi-path reasoning over any model.

The upstream calls are a framework (the plan), N candidates at the same time, each from another
passage or angle (conversations/reasoning/sampling_paths.py), and their synthesis. The synthesis is
made by the model, whose answer streams, or by rules for texts. With one candidate the question is
asked once. `mpr_candidates` in the body overrides the row's number. A caller who wants tools, a
format or several choices always gets the synthesis of the model, because rules cannot keep these.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from conversations.prompts.long_texts import question_of
from conversations.reasoning import sampling_paths
from conversations.upstream_calls.strategy_calls import (
    HOPELESS,
    Asking,
    instructed,
    only_text,
    options_of,
)
from providers.catalogue import Candidate
from providers.exceptions import BadResponse, GatewayError
from providers.protocol.chunks import Batches, Chunk, completion, delta
from providers.protocol.message_text import join_texts
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

Messages = list[dict[str, Any]]


def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    if request.endpoint != CHAT:
        return failover.answer(request, candidates, pool, trace)
    return merged(request, candidates, pool, trace)


async def merged(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the merged answer. Raises GatewayError."""
    options = options_of(sampling_paths.Options, candidates)
    asking = Asking(request, candidates, pool, trace, options.max_calls)
    plan = await framework(asking) if options.plans and asking.left > 0 else ""
    count = min(options.candidates, asking.left)
    messages = request.body["messages"]
    result = trace.strategy_result
    result.thinking = {"framework": plan, "candidates": [], "synthesis": ""}
    if count < 2:
        messages = instructed(messages, sampling_paths.PLAN.format(plan=plan)) if plan else messages
        drafts: list[str] = []
    else:
        drafts = await drafted(asking, options, plan, count)
        ruled = only_text(request.body) and (options.synthesis != "model" or len(drafts) == 1)
        way = "model" if not ruled else options.synthesis if len(drafts) > 1 else ""
        result.thinking |= {"candidates": drafts, "synthesis": way}
        if ruled:
            text = sampling_paths.synthesise(options.synthesis, drafts)
            batch = told(request, text)
            yield shown(request, batch, drafts) if options.show_candidates else batch
            return
        messages = synthesised(messages, drafts)
    async with aclosing(
        asking.last("synthesis", messages, temperature=options.final_temperature)
    ) as batches:
        async for batch in batches:
            yield shown(request, batch, drafts) if options.show_candidates else batch


def asked_last(messages: Messages, words: str) -> Messages:
    """Return the caller's messages and one more user message."""
    return [*messages, {"role": "user", "content": words}]


def synthesised(messages: Messages, drafts: Sequence[str]) -> Messages:
    marked = "\n\n".join(
        f"<draft_{at}>\n{text}\n</draft_{at}>" for at, text in enumerate(drafts, 1)
    )
    return asked_last(messages, sampling_paths.SYNTHESIS.format(count=len(drafts), drafts=marked))


async def framework(asking: Asking) -> str:
    """Return the plan, or an empty string when the upstream failed, as a plan is optional.

    Raises GatewayError only when further calls would fail too.
    """
    try:
        said = await asking.whole(
            "framework", asked_last(asking.request.body["messages"], sampling_paths.FRAMEWORK)
        )
    except HOPELESS:
        raise
    except GatewayError:
        return ""
    return said.text


async def drafted(
    asking: Asking, options: sampling_paths.Options, plan: str, count: int
) -> list[str]:
    """Return the candidates, requested all at once; failed ones are left out.

    Raises GatewayError when all failed.
    """
    messages = asking.request.body["messages"]
    starts = await asyncio.to_thread(passages, messages, options.sampling, count)
    fields: dict[str, Any] = {"max_tokens": options.candidate_tokens}
    if options.temperature is not None:
        fields["temperature"] = options.temperature
    errors: list[GatewayError] = []

    async def draft(number: int, hint: str) -> str:
        words = [
            sampling_paths.CANDIDATE,
            sampling_paths.PLAN.format(plan=plan) if plan else "",
            hint,
        ]
        told = instructed(messages, "\n\n".join(filter(None, words)))
        try:
            return (await asking.whole(f"candidate {number}", told, **fields)).text
        except GatewayError as error:
            errors.append(error)
            return ""

    asking.reserve(count)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(draft(number, hint)) for number, hint in enumerate(starts, 1)]
    drafts = [text for task in tasks if (text := task.result()).strip()]
    if not drafts:
        raise errors[-1] if errors else BadResponse("No candidate of the answer has text.")
    return drafts


def passages(messages: Messages, sampling: str, count: int) -> list[str]:
    """Return the starting point of each candidate.

    It is a passage of the caller's texts or, where these are a single passage, an angle from which
    to look at the question.
    """
    asked = [message for message in messages if message["role"] != "assistant"]
    given = "\n\n".join(join_texts(message.get("content")) for message in asked)
    found = sampling_paths.list_passages(given)
    rng = random.Random()  # noqa: S311 - nothing secret depends on it
    if len(found) < 2:
        return sampling_paths.sample(
            sampling, sampling_paths.ANGLES, question_of(messages), count, rng
        )
    chosen = sampling_paths.sample(sampling, found, question_of(messages), count, rng)
    return [sampling_paths.PASSAGE.format(passage=passage) for passage in chosen]


def told(request: ChatRequest, text: str) -> list[Chunk]:
    """Return the answer that the rules made, whole or as a stream."""
    if not request.stream:
        return [completion(request, {"content": text}, None)]
    return [
        delta(request, role="assistant", content=text),
        delta(request, finish_reason="stop"),
    ]


def shown(request: ChatRequest, batch: list[Chunk], drafts: Sequence[str]) -> list[Chunk]:
    """Return the batch with the candidates as an additional field.

    The field is in the whole answer, or in a chunk before the finish reason.
    """
    if not request.stream:
        return [chunk | {"candidates": list(drafts)} for chunk in batch]
    out: list[Chunk] = []
    for chunk in batch:
        if any(choice["index"] == 0 and choice.get("finish_reason") for choice in chunk["choices"]):
            out.append(delta(request) | {"candidates": list(drafts)})
        out.append(chunk)
    return out
