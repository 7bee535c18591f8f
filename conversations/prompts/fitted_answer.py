"""Answer a request whose prompt may be too long for its model.

The prompt is shortened first, then answered by its model's strategy. The upstream calls for
shortening (summaries, if the model's row wants them) count as part of the request.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from conversations.documents.ranking import EmbedTexts
from conversations.history import finish_turn
from conversations.prompts import summaries
from conversations.prompts.fit_prompt import PromptFitter
from conversations.prompts.long_texts import extract_question
from conversations.prompts.summaries import ModelSummariser
from conversations.prompts.text_shortener import FitHelpers, TextShortener
from conversations.strategies import find_fitting_strategy, find_strategy
from conversations.upstream_calls.strategy_calls import StrategyCalls
from providers.catalogue import Candidate, find_smallest_window
from providers.choices import LongPrompts
from providers.database.database_threads import await_in_time, run_in_thread
from providers.fast_settings import settings
from providers.protocol.chunks import Batches
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.pool import Pool


@dataclass(frozen=True, slots=True)
class PromptScope:
    """The owner and the place of a prompt.

    `user_id` None: nothing is stored. `conversation_id` is its conversation, empty without one.
    `embed` makes embeddings of questions. `queue_key` is the key of the job queue for texts that
    belong to no user.
    """

    user_id: int | None
    conversation_id: str = ""
    embed: EmbedTexts | None = None
    queue_key: object = None


def may_be_long(size_bytes: int, candidates: Sequence[Candidate]) -> bool:
    """Return whether a request of this size could be more than its model takes.

    A token has at least one byte, and the answer may need half of the window.
    """
    window = find_smallest_window(candidates) or 0
    return bool(0 < window * min(settings.PROMPT_SHARE, 0.5) < size_bytes)


async def answer_fitted_prompt(
    request: ChatRequest,
    candidates: Sequence[Candidate],
    pool: Pool,
    trace: Trace,
    scope: PromptScope,
) -> Batches:
    """Yield the answer to the request, shortened to fit. Raises GatewayError.

    Links the documents that were used to the conversation.
    """
    strategy = candidates[0].strategy
    fitter = make_fitter(
        request,
        candidates,
        scope,
        StrategyCalls(request, candidates, pool, trace, summaries.MAX_SUMMARY_CALLS),
    )
    await fitter.require_room(request.body)
    fitted = await fitter.shorten_body(request.body)
    if fitted is not None:
        await add_document_links(scope, fitted.document_ids)
    fitting_strategy = find_fitting_strategy(strategy)
    if fitting_strategy is not None:
        batches = fitting_strategy(request, candidates, pool, trace, fitter)
    elif fitted is not None:
        # an upstream that keeps the chat has other passages: it gets the whole prompt again
        request = msgspec.structs.replace(request, body=fitted.body, resume=None)
        batches = find_strategy(strategy)(request, candidates, pool, trace)
    else:
        batches = find_strategy(strategy)(request, candidates, pool, trace)
    async with aclosing(batches):
        async for batch in batches:
            yield batch


def make_fitter(
    request: ChatRequest,
    candidates: Sequence[Candidate],
    scope: PromptScope,
    summary_calls: StrategyCalls,
) -> PromptFitter:
    """Return the fitter of a request; `summary_calls` make summaries if the options want them."""
    candidate = candidates[0]
    policy = request.long_prompts or candidate.long_prompts
    may_fit = policy != LongPrompts.REFUSE
    helpers = FitHelpers(
        scope.embed, ModelSummariser(summary_calls, candidate.public_id), scope.queue_key
    )
    shortener = TextShortener(
        scope.user_id, candidate.options, helpers, extract_question(request.body["messages"])
    )
    window = find_smallest_window(candidates) if may_fit else find_largest_window(candidates)
    return PromptFitter(request.body, window, shortener, policy)


def find_largest_window(candidates: Sequence[Candidate]) -> int | None:
    """Return the most tokens that one of the candidates takes; None when one does not say."""
    windows = [candidate.context_window or 0 for candidate in candidates]
    return max(windows) if all(windows) else None


async def add_document_links(scope: PromptScope, document_ids: list[str]) -> None:
    """Link the documents that were used to the conversation, if there is one."""
    if scope.conversation_id and document_ids:
        await await_in_time(
            run_in_thread(finish_turn.add_document_links, scope.conversation_id, document_ids)
        )
