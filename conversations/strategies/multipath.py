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

from conversations.prompts.long_texts import extract_question
from conversations.reasoning import sampling_paths
from conversations.upstream_calls.strategy_calls import (
    UNRETRYABLE_ERRORS,
    StrategyCalls,
    prepend_instructions,
    read_strategy_options,
    wants_plain_text,
)
from providers.catalogue import Candidate
from providers.exceptions import BadResponse, GatewayError
from providers.protocol.chunks import Batches, Chunk, make_completion, make_delta
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
    return answer_by_merging(request, candidates, pool, trace)


async def answer_by_merging(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the merged answer. Raises GatewayError."""
    options = read_strategy_options(sampling_paths.Options, candidates)
    asking = StrategyCalls(request, candidates, pool, trace, options.max_calls)
    plan = await request_plan(asking) if options.wants_plan and asking.calls_left > 0 else ""
    count = min(options.candidates, asking.calls_left)
    messages = request.body["messages"]
    result = trace.strategy_result
    result.thinking = {"framework": plan, "candidates": [], "synthesis": ""}
    if count < 2:
        messages = (
            prepend_instructions(messages, sampling_paths.PLAN_PROMPT.format(plan=plan))
            if plan
            else messages
        )
        drafts: list[str] = []
    else:
        drafts = await request_drafts(asking, options, plan, count)
        ruled = wants_plain_text(request.body) and (
            options.synthesis != "model" or len(drafts) == 1
        )
        way = "model" if not ruled else options.synthesis if len(drafts) > 1 else ""
        result.thinking |= {"candidates": drafts, "synthesis": way}
        if ruled:
            text = sampling_paths.merge_texts(options.synthesis, drafts)
            batch = render_merged_answer(request, text)
            yield attach_candidates(request, batch, drafts) if options.show_candidates else batch
            return
        messages = make_synthesis_messages(messages, drafts)
    async with aclosing(
        asking.stream_final_answer("synthesis", messages, temperature=options.final_temperature)
    ) as batches:
        async for batch in batches:
            yield attach_candidates(request, batch, drafts) if options.show_candidates else batch


def with_user_message(messages: Messages, text: str) -> Messages:
    """Return the caller's messages and one more user message."""
    return [*messages, {"role": "user", "content": text}]


def make_synthesis_messages(messages: Messages, drafts: Sequence[str]) -> Messages:
    marked = "\n\n".join(
        f"<draft_{at}>\n{text}\n</draft_{at}>" for at, text in enumerate(drafts, 1)
    )
    return with_user_message(
        messages, sampling_paths.SYNTHESIS_PROMPT.format(count=len(drafts), drafts=marked)
    )


async def request_plan(calls: StrategyCalls) -> str:
    """Return the plan, or an empty string when the upstream failed, as a plan is optional.

    Raises GatewayError only when further calls would fail too.
    """
    try:
        said = await calls.request_intermediate_answer(
            "framework",
            with_user_message(calls.request.body["messages"], sampling_paths.FRAMEWORK_PROMPT),
        )
    except UNRETRYABLE_ERRORS:
        raise
    except GatewayError:
        return ""
    return said.text


async def request_drafts(
    calls: StrategyCalls, options: sampling_paths.Options, plan: str, count: int
) -> list[str]:
    """Return the candidates, requested all at once; failed ones are left out.

    Raises GatewayError when all failed.
    """
    messages = calls.request.body["messages"]
    starts = await asyncio.to_thread(choose_starting_points, messages, options.sampling, count)
    fields: dict[str, Any] = {"max_tokens": options.candidate_tokens}
    if options.temperature is not None:
        fields["temperature"] = options.temperature
    errors: list[GatewayError] = []

    async def request_draft(number: int, hint: str) -> str:
        words = [
            sampling_paths.CANDIDATE_PROMPT,
            sampling_paths.PLAN_PROMPT.format(plan=plan) if plan else "",
            hint,
        ]
        told = prepend_instructions(messages, "\n\n".join(filter(None, words)))
        try:
            return (
                await calls.request_intermediate_answer(f"candidate {number}", told, **fields)
            ).text
        except GatewayError as error:
            errors.append(error)
            return ""

    calls.reserve_calls(count)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(request_draft(number, hint)) for number, hint in enumerate(starts, 1)
        ]
    drafts = [text for task in tasks if (text := task.result()).strip()]
    if not drafts:
        raise errors[-1] if errors else BadResponse("No candidate of the answer has text.")
    return drafts


def choose_starting_points(messages: Messages, sampling: str, count: int) -> list[str]:
    """Return the starting point of each candidate.

    It is a passage of the caller's texts or, where these are a single passage, an angle from which
    to look at the question.
    """
    asked = [message for message in messages if message["role"] != "assistant"]
    given = "\n\n".join(join_texts(message.get("content")) for message in asked)
    found = sampling_paths.list_passages(given)
    rng = random.Random()  # noqa: S311 - nothing secret depends on it
    if len(found) < 2:
        return sampling_paths.sample_passages(
            sampling, sampling_paths.ANGLES, extract_question(messages), count, rng
        )
    chosen = sampling_paths.sample_passages(sampling, found, extract_question(messages), count, rng)
    return [sampling_paths.PASSAGE_PROMPT.format(passage=passage) for passage in chosen]


def render_merged_answer(request: ChatRequest, text: str) -> list[Chunk]:
    """Return the answer that the rules made, whole or as a stream."""
    if not request.stream:
        return [make_completion(request, {"content": text}, None)]
    return [
        make_delta(request, role="assistant", content=text),
        make_delta(request, finish_reason="stop"),
    ]


def attach_candidates(
    request: ChatRequest, batch: list[Chunk], drafts: Sequence[str]
) -> list[Chunk]:
    """Return the batch with the candidates as an additional field.

    The field is in the whole answer, or in a chunk before the finish reason.
    """
    if not request.stream:
        return [chunk | {"candidates": list(drafts)} for chunk in batch]
    out: list[Chunk] = []
    for chunk in batch:
        if any(choice["index"] == 0 and choice.get("finish_reason") for choice in chunk["choices"]):
            out.append(make_delta(request) | {"candidates": list(drafts)})
        out.append(chunk)
    return out
