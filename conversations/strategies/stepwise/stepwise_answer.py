"""Think in steps that the caller sees as they finish, then answer.

Each step is an upstream call of its own, answered with one JSON object (`step_parser.py`). The
final call has the caller's own messages, tools and formats, and its answer streams. The answer has
the additional fields `steps` and `total_thinking_time` (seconds); in a stream they come in a chunk
before the finish reason. A model that answers in prose, even when it is told the form, has its
prose taken as a step. A step that fails after three tries gets the title "Error", and the final
call is made with the other steps. Thinking ends early when one more step would not fit into the
model's window; the final answer is made with the steps that are there (`final_answer.py`).
"""

from collections.abc import Sequence
from contextlib import aclosing

from conversations.prompts.fit_prompt import PromptFitter
from conversations.prompts.strategy_questions import StrategyQuestions, make_plain_fitter
from conversations.strategies.stepwise.final_answer import FinalAnswer
from conversations.strategies.stepwise.step_prompts import StepwiseOptions
from conversations.strategies.stepwise.step_renderer import HIDDEN, INLINE, StepRenderer
from conversations.strategies.stepwise.step_sequence import StepSequence
from conversations.upstream_calls.strategy_calls import StrategyCalls, read_strategy_options
from providers.catalogue import Candidate
from providers.protocol.chunks import Batches
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import StrategyResult, Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

# forms that a caller may ask for instead of the row's, by choices.Thinking
CALLER_FORMS = {"inline": INLINE, "hidden": HIDDEN, "reasoning": "reasoning"}


def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the answer in steps; relay other requests than chat completions unchanged."""
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
    """Yield the steps as they finish, then the final answer. Raises GatewayError.

    Each question is made to fit into the model's window.
    """
    options = read_strategy_options(StepwiseOptions, candidates)
    calls = StrategyCalls(request, candidates, pool, trace, options.max_calls)
    questions = StrategyQuestions(request, fitter)
    has_json_mode = all(candidate.has_native_tools for candidate in candidates)
    sequence = StepSequence(calls, questions, options, has_json_mode=has_json_mode)
    form = CALLER_FORMS.get(request.thinking, options.format)
    renderer = StepRenderer(request, form, shows_status=options.feedback)
    async with aclosing(make_steps(sequence, renderer, trace.strategy_result)) as step_batches:
        async for batch in step_batches:
            if request.stream:
                yield batch
    final = FinalAnswer(request, calls, sequence, options)
    async with aclosing(final.yield_answer()) as final_batches:
        async for batch in final_batches:
            if request.stream:
                yield renderer.render_final_batch(batch)
            else:
                yield [renderer.render_whole_answer(batch[0])]


async def make_steps(
    sequence: StepSequence, renderer: StepRenderer, result: StrategyResult
) -> Batches:
    """Make all steps; yield the chunks that show them, and write them to the strategy's result.

    Nothing is yielded before the first good step, so that an error keeps its HTTP status.
    """
    while not await sequence.is_over():
        if status := renderer.render_step_status():
            yield status
        step = await sequence.make_next_step()
        step_chunks = renderer.render_finished_step(step)
        result.thinking = renderer.stored_steps()
        result.preface = renderer.preface
        if step_chunks:
            yield step_chunks
    if status := renderer.render_answer_status():
        yield status
    result.preface = renderer.preface + renderer.closing_text
