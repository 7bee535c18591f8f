"""Answer a request whose prompt may be too long for its model.

The prompt is shortened first, then answered by its model's strategy. The upstream calls for
shortening (summaries, if the model's row wants them) count as part of the request.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from conversations.documents.ranking import Embed
from conversations.history import finish_turn
from conversations.prompts import summaries
from conversations.prompts.fit_prompt import Means, fit
from conversations.prompts.summaries import Summaries
from conversations.strategies import strategy
from conversations.upstream_calls.strategy_calls import Asking
from providers.catalogue import Candidate, smallest_window
from providers.database.database_threads import in_time, off_loop
from providers.fast_settings import settings
from providers.protocol.chunks import Batches
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.pool.pool import Pool


@dataclass(frozen=True, slots=True)
class Place:
    """The owner and the place of a prompt.

    `user_id` None: nothing is stored. `conversation_id` is its conversation, empty without one.
    `embed` makes embeddings of questions. `queue` is the key of the job queue for texts that belong
    to no user.
    """

    user_id: int | None
    conversation_id: str = ""
    embed: Embed | None = None
    queue: object = None


def may_be_long(size_bytes: int, candidates: Sequence[Candidate]) -> bool:
    """Return whether a request of this size could be more than its model takes.

    A token has at least one byte, and the answer may need half of the window.
    """
    window = smallest_window(candidates) or 0
    return bool(0 < window * min(settings.PROMPT_SHARE, 0.5) < size_bytes)


async def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace, place: Place
) -> Batches:
    """Yield the answer to the request, shortened to fit. Raises GatewayError.

    Links the documents that were used to the conversation.
    """
    options = candidates[0].options
    window = smallest_window(candidates)
    asking = Asking(request, candidates, pool, trace, summaries.MOST)
    means = Means(place.embed, Summaries(asking, candidates[0].public_id), place.queue)
    fitted = await fit(request.body, place.user_id, window, options, means) if window else None
    # an upstream that keeps the chat has other passages: it gets the whole prompt again
    if fitted is not None:
        request = msgspec.structs.replace(request, body=fitted.body, resume=None)
        if place.conversation_id and fitted.documents:
            await in_time(off_loop(finish_turn.link, place.conversation_id, fitted.documents))
    batches = strategy(candidates[0].strategy)(request, candidates, pool, trace)
    async with aclosing(batches):
        async for batch in batches:
            yield batch
