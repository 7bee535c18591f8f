"""A prompt that may be too long for its model: fitted first, then answered as its model's strategy
would.

What fitting costs (summaries by the model, if its row wants them) is asked inside the request, so
it stands in its row.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec

from conversations.documents.ranking import Embed
from conversations.history import finish_turn
from conversations.prompts import summaries
from conversations.prompts.fit_prompt import Means, fit
from conversations.prompts.long_texts import estimate_prompt_tokens
from conversations.prompts.summaries import Summaries
from conversations.strategies import strategy
from conversations.text.token_estimate import estimate_tokens, estimated_usage
from conversations.upstream_calls.strategy_calls import Asking
from providers.catalogue import Candidate, smallest_window
from providers.database.database_threads import in_time, off_loop
from providers.fast_settings import settings
from providers.filters.moonshot_usage import sum_usage
from providers.protocol.chat import ANSWERING, Batches, ChatRequest, Trace
from tokens.pool.pool import Pool


@dataclass(frozen=True, slots=True)
class Place:
    """Whose the prompt is (`user_id` None: nothing of it is kept), in which conversation, what
    embeds questions, and whose turn it is in the queue for what is nobody's.
    """

    user_id: int | None
    conversation_id: str = ""
    embed: Embed | None = None
    queue: object = None


def may_be_long(size_bytes: int, candidates: Sequence[Candidate]) -> bool:
    """Tell whether a request of this size could be more than its model takes.

    A token is no less than a byte, and the answer may want half of the window.
    """
    window = smallest_window(candidates) or 0
    return bool(0 < window * min(settings.PROMPT_SHARE, 0.5) < size_bytes)


async def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace, place: Place
) -> Batches:
    """Yield the answer to the request as it fits. Raises GatewayError."""
    options = candidates[0].options
    window = smallest_window(candidates)
    asking = Asking(request, candidates, pool, trace, summaries.MOST)
    means = Means(place.embed, Summaries(asking, candidates[0].public_id), place.queue)
    fitted = await fit(request.body, place.user_id, window, options, means) if window else None
    if (
        fitted is not None
    ):  # a site that keeps the chat knows other passages: it is told everything anew
        request = trace.request = msgspec.structs.replace(request, body=fitted.body, resume=None)
        if place.conversation_id and fitted.documents:
            await in_time(off_loop(finish_turn.link, place.conversation_id, fitted.documents))
    batches = strategy(candidates[0].strategy)(request, candidates, pool, trace)
    if spent := asking.usage():
        batches = with_spent(batches, trace, spent)
    async with aclosing(batches):
        async for batch in batches:
            yield batch


async def with_spent(batches: Batches, trace: Trace, spent: dict[str, Any]) -> Batches:
    """Relay an answer and add what was spent before it to its usage, however it ends."""
    told = None
    before = len(trace.attempts)
    trace.usage = None
    try:
        async with aclosing(batches):
            async for batch in batches:
                for chunk in batch:
                    if chunk.get("usage"):
                        told = chunk["usage"] = sum_usage(spent, chunk["usage"])
                yield batch
    finally:
        own = trace.usage
        if own is None and any(attempt.outcome in ANSWERING for attempt in trace.attempts[before:]):
            bodies = (trace.request.body, *(trace.further or ()))
            prompt = sum(map(estimate_prompt_tokens, bodies))
            produced = sum(map(estimate_tokens, (*trace.text, *trace.reasoning)))
            own = estimated_usage(prompt, produced)
        trace.usage = told or sum_usage(spent, own or {})
