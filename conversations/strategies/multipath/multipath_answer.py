"""Plan, answer several times at once, and merge the drafts.

The upstream calls are a framework (the plan), N candidates at the same time, each from another
passage or angle (`draft_requests.py`), and their synthesis. The synthesis is made by the model,
whose answer streams, or by rules for texts (`draft_merging.py`). With one candidate there is
one call. `mpr_candidates` in the body overrides the row's number. A caller who wants tools, a
format or several choices always gets the synthesis of the model, because rules cannot keep these.

Each question fits the model's window: plan, passage and drafts have room beside the caller's long
texts. A candidate that failed is named in the answer's field `rejected_candidates`. When the
synthesis fails before it begins, the draft that the others agree with most is the answer.
"""

from collections.abc import Sequence
from contextlib import aclosing

from conversations.prompts.fit_prompt import PromptFitter
from conversations.prompts.strategy_questions import (
    Question,
    StrategyQuestions,
    make_plain_fitter,
)
from conversations.strategies.multipath.draft_merging import measure_agreement, merge_texts
from conversations.strategies.multipath.draft_requests import (
    DraftResults,
    describe_error,
    make_user_message,
    request_drafts,
    request_plan,
)
from conversations.strategies.multipath.multipath_options import (
    PLAN_PROMPT,
    SYNTHESIS_PROMPT,
    MultipathOptions,
)
from conversations.text.trim_texts import cut_text, trim_texts
from conversations.upstream_calls.strategy_calls import (
    StrategyCalls,
    read_strategy_options,
    wants_plain_text,
)
from providers.catalogue import Candidate
from providers.exceptions import GatewayError
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
    return answer_fitted(request, candidates, pool, trace, make_plain_fitter(request, candidates))


async def answer_fitted(
    request: ChatRequest,
    candidates: Sequence[Candidate],
    pool: Pool,
    trace: Trace,
    fitter: PromptFitter,
) -> Batches:
    """Yield the merged answer; each question is made to fit. Raises GatewayError."""
    options = read_strategy_options(MultipathOptions, candidates)
    calls = StrategyCalls(request, candidates, pool, trace, options.max_calls)
    questions = StrategyQuestions(request, fitter)
    plan = ""
    if options.wants_plan and calls.calls_left > 0:
        plan = await request_plan(calls, questions)
    trace.strategy_result.thinking = {"framework": plan, "candidates": [], "synthesis": ""}
    results = DraftResults()
    count = min(options.candidates, calls.calls_left)
    if count > 1:
        results = await request_drafts(calls, questions, options, plan, count)
        synthesis = choose_synthesis(options, request.body, len(results.drafts))
        trace.strategy_result.thinking |= {"candidates": results.drafts, "synthesis": synthesis}
        if results.rejected:
            trace.strategy_result.thinking["rejected_candidates"] = results.rejected
        if synthesis != MODEL_SYNTHESIS:
            merged = render_merged_answer(request, merge_texts(synthesis, results.drafts))
            yield attach_fields(request, merged, list_extra_fields(options, results))
            return
    messages = await make_final_messages(questions, plan, results.drafts)
    final_batches = calls.stream_final_answer(
        "synthesis", messages, temperature=options.final_temperature
    )
    fields = list_extra_fields(options, results)
    async with aclosing(yield_or_fall_back(request, final_batches, results, fields)) as batches:
        async for batch in batches:
            yield attach_fields(request, batch, fields)


async def yield_or_fall_back(
    request: ChatRequest, final_batches: Batches, results: DraftResults, fields: JsonObject
) -> Batches:
    """Yield the synthesis; when it fails before it begins, yield the best draft.

    Why it failed is added to `fields`. Without drafts, or when the caller wants more than a text,
    the error is raised.
    """
    has_begun = False
    try:
        async with aclosing(final_batches):
            async for batch in final_batches:
                has_begun = True
                yield batch
    except GatewayError as error:
        if has_begun or not results.drafts or not wants_plain_text(request.body):
            raise
        fields["failed_synthesis"] = describe_error(error)
        yield render_merged_answer(request, choose_best_draft(results.drafts))


def choose_best_draft(drafts: Sequence[str]) -> str:
    """Return the draft that the others agree with most."""
    agreement = measure_agreement(drafts)
    return drafts[agreement.index(max(agreement))]


def choose_synthesis(options: MultipathOptions, body: FrozenJsonObject, draft_count: int) -> str:
    """Return how the drafts become one answer; an empty string means that the only one is it."""
    if not wants_plain_text(body):
        return MODEL_SYNTHESIS
    return options.synthesis if draft_count > 1 else ""


async def make_final_messages(
    questions: StrategyQuestions, plan: str, drafts: Sequence[str]
) -> list[JsonObject]:
    """Return the messages for the last call: with the drafts, or with the plan, or unchanged.

    Drafts and plan are cut to the room that they have beside the caller's texts.
    """
    if drafts:
        frame = render_synthesis_prompt([""] * len(drafts))
        room = await questions.measure_room(
            Question(additions=[make_user_message(frame)], is_final=True)
        )
        prompt = render_synthesis_prompt(trim_texts(drafts, room))
        question = Question(additions=[make_user_message(prompt)], is_final=True)
    elif plan:
        room = await questions.measure_room(Question(PLAN_PROMPT, is_final=True))
        question = Question(PLAN_PROMPT.format(plan=cut_text(plan, room)), is_final=True)
    else:
        question = Question(is_final=True)
    return await questions.make_messages(question)


def render_synthesis_prompt(drafts: Sequence[str]) -> str:
    """Return the prompt that asks for one answer made of the drafts."""
    marked_drafts = "\n\n".join(
        f"<draft_{number}>\n{text}\n</draft_{number}>" for number, text in enumerate(drafts, 1)
    )
    return SYNTHESIS_PROMPT.format(count=len(drafts), drafts=marked_drafts)


def render_merged_answer(request: ChatRequest, text: str) -> list[Chunk]:
    """Return the answer that the rules made, whole or as a stream."""
    if not request.stream:
        return [make_completion(request, {"content": text}, None)]
    return [
        make_delta(request, role="assistant", content=text),
        make_delta(request, finish_reason="stop"),
    ]


def list_extra_fields(options: MultipathOptions, results: DraftResults) -> JsonObject:
    """Return the answer's fields beside OpenAI's: rejected candidates, and the drafts if wanted."""
    fields: JsonObject = {}
    if options.show_candidates:
        fields["candidates"] = list(results.drafts)
    if results.rejected:
        fields["rejected_candidates"] = results.rejected
    return fields


def attach_fields(request: ChatRequest, batch: list[Chunk], fields: JsonObject) -> list[Chunk]:
    """Return the batch with additional fields.

    They are in the whole answer, or in a chunk before the finish reason.
    """
    if not fields:
        return batch
    if not request.stream:
        return [chunk | fields for chunk in batch]
    chunks: list[Chunk] = []
    for chunk in batch:
        if any(choice["index"] == 0 and choice.get("finish_reason") for choice in chunk["choices"]):
            chunks.append(make_delta(request) | fields)
        chunks.append(chunk)
    return chunks
