"""Plan, answer several times at once, and merge the drafts.

The upstream calls are a framework (the plan), N candidates at the same time, each from another
passage or angle (`draft_requests.py`), and their synthesis. The synthesis is made by the model,
whose answer streams, or by rules for texts (`draft_merging.py`). With one candidate there is
one call. `mpr_candidates` in the body overrides the row's number. A caller who wants tools, a
format or several choices always gets the synthesis of the model, because rules cannot keep these.
"""

from collections.abc import Sequence
from contextlib import aclosing

from conversations.strategies.multipath.draft_merging import merge_texts
from conversations.strategies.multipath.draft_requests import (
    append_user_message,
    request_drafts,
    request_plan,
)
from conversations.strategies.multipath.multipath_options import (
    PLAN_PROMPT,
    SYNTHESIS_PROMPT,
    MultipathOptions,
)
from conversations.upstream_calls.strategy_calls import (
    StrategyCalls,
    prepend_instructions,
    read_strategy_options,
    wants_plain_text,
)
from providers.catalogue import Candidate
from providers.protocol.chunks import Batches, Chunk, make_completion, make_delta
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

MODEL_SYNTHESIS = "model"  # the model merges the drafts; all other kinds are rules


def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the merged answer; relay other requests than chat completions unchanged."""
    if request.endpoint != CHAT:
        return failover.answer(request, candidates, pool, trace)
    return answer_by_merging(request, candidates, pool, trace)


async def answer_by_merging(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the merged answer. Raises GatewayError."""
    options = read_strategy_options(MultipathOptions, candidates)
    calls = StrategyCalls(request, candidates, pool, trace, options.max_calls)
    plan = ""
    if options.wants_plan and calls.calls_left > 0:
        plan = await request_plan(calls)
    trace.strategy_result.thinking = {"framework": plan, "candidates": [], "synthesis": ""}
    drafts: list[str] = []
    count = min(options.candidates, calls.calls_left)
    if count > 1:
        drafts = await request_drafts(calls, options, plan, count)
        synthesis = choose_synthesis(options, request.body, len(drafts))
        trace.strategy_result.thinking |= {"candidates": drafts, "synthesis": synthesis}
        if synthesis != MODEL_SYNTHESIS:
            merged = render_merged_answer(request, merge_texts(synthesis, drafts))
            yield attach_candidates(request, options, merged, drafts)
            return
    final_batches = calls.stream_final_answer(
        "synthesis",
        make_final_messages(request.body["messages"], plan, drafts),
        temperature=options.final_temperature,
    )
    async with aclosing(final_batches):
        async for batch in final_batches:
            yield attach_candidates(request, options, batch, drafts)


def choose_synthesis(options: MultipathOptions, body: FrozenJsonObject, draft_count: int) -> str:
    """Return how the drafts become one answer; an empty string means that the only one is it."""
    if not wants_plain_text(body):
        return MODEL_SYNTHESIS
    return options.synthesis if draft_count > 1 else ""


def make_final_messages(
    messages: Sequence[JsonObject], plan: str, drafts: Sequence[str]
) -> Sequence[JsonObject]:
    """Return the messages for the last call: with the drafts, or with the plan, or unchanged."""
    if drafts:
        marked_drafts = "\n\n".join(
            f"<draft_{number}>\n{text}\n</draft_{number}>" for number, text in enumerate(drafts, 1)
        )
        prompt = SYNTHESIS_PROMPT.format(count=len(drafts), drafts=marked_drafts)
        return append_user_message(messages, prompt)
    if plan:
        return prepend_instructions(messages, PLAN_PROMPT.format(plan=plan))
    return messages


def render_merged_answer(request: ChatRequest, text: str) -> list[Chunk]:
    """Return the answer that the rules made, whole or as a stream."""
    if not request.stream:
        return [make_completion(request, {"content": text}, None)]
    return [
        make_delta(request, role="assistant", content=text),
        make_delta(request, finish_reason="stop"),
    ]


def attach_candidates(
    request: ChatRequest, options: MultipathOptions, batch: list[Chunk], drafts: Sequence[str]
) -> list[Chunk]:
    """Return the batch with the candidates as an additional field, if the options want it.

    The field is in the whole answer, or in a chunk before the finish reason.
    """
    if not options.show_candidates:
        return batch
    field = {"candidates": list(drafts)}
    if not request.stream:
        return [chunk | field for chunk in batch]
    chunks: list[Chunk] = []
    for chunk in batch:
        if any(choice["index"] == 0 and choice.get("finish_reason") for choice in chunk["choices"]):
            chunks.append(make_delta(request) | field)
        chunks.append(chunk)
    return chunks
