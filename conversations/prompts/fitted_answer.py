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
from conversations.prompts.fit_prompt import FitHelpers, FittedPrompt, shorten_prompt
from conversations.prompts.summaries import ModelSummariser
from conversations.strategies import find_strategy
from conversations.upstream_calls.strategy_calls import StrategyCalls
from providers.catalogue import Candidate, find_smallest_window
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
    options = candidates[0].options
    window = find_smallest_window(candidates)
    calls = StrategyCalls(request, candidates, pool, trace, summaries.MAX_SUMMARY_CALLS)
    summariser = ModelSummariser(calls, candidates[0].public_id)
    helpers = FitHelpers(scope.embed, summariser, scope.queue_key)
    fitted: FittedPrompt | None = None
    if window:
        fitted = await shorten_prompt(request.body, scope.user_id, window, options, helpers)
    if fitted is not None:
        # an upstream that keeps the chat has other passages: it gets the whole prompt again
        request = msgspec.structs.replace(request, body=fitted.body, resume=None)
        await add_document_links(scope, fitted.document_ids)
    batches = find_strategy(candidates[0].strategy)(request, candidates, pool, trace)
    async with aclosing(batches):
        async for batch in batches:
            yield batch


async def add_document_links(scope: PromptScope, document_ids: list[str]) -> None:
    """Link the documents that were used to the conversation, if there is one."""
    if scope.conversation_id and document_ids:
        await await_in_time(
            run_in_thread(finish_turn.add_document_links, scope.conversation_id, document_ids)
        )
