"""A prompt that may be too long for its model: fitted first, then answered as its model's strategy would.

What fitting costs (summaries by the model, if its row wants them) is asked inside the request, so it stands in its row.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import msgspec
from django.conf import settings

from conversations import turns
from conversations.asking import Asking
from conversations.documents.recall import Embed
from conversations.fitting import Means, fit
from conversations.strategies import strategy
from providers.catalogue import Candidate
from providers.chat import Batches, ChatRequest, Trace
from providers.offloop import in_time, off_loop
from tokens.pool import Pool

MOST_SUMMARIES = 64  # questions for one request
SUMMARY = (
    "Say in at most three sentences what the following passage says. Keep names, numbers, dates and terms as they are, "
    "use the language of the passage, and add nothing."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Whose the prompt is (`user_id` None: nothing of it is kept), in which conversation, and what embeds questions."""

    user_id: int | None
    conversation_id: str = ""
    embed: Embed | None = None


def window_of(candidates: Sequence[Candidate]) -> int:
    """Tokens that every candidate takes; 0 when none of them says."""
    return min((one.context_window for one in candidates if one.context_window), default=0)


def may_be_long(size_bytes: int, candidates: Sequence[Candidate]) -> bool:
    """Whether a request of this size could be more than its model takes: a token is no less than a byte."""
    window = (candidates[0].context_window or 0) if len(candidates) == 1 else window_of(candidates)
    return bool(0 < window * settings.PROMPT_SHARE < size_bytes)


async def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace, place: Place
) -> Batches:
    """Yield the answer to the request as it fits. Raises GatewayError."""
    options = candidates[0].options
    means = Means(place.embed, partial(summaries, Asking(request, candidates, pool, trace, MOST_SUMMARIES)))
    window = window_of(candidates)
    fitted = await fit(request.body, place.user_id, window, options, means) if window else None
    if fitted is not None:
        request = trace.request = msgspec.structs.replace(request, body=fitted.body)
        if place.conversation_id and fitted.documents:
            await in_time(off_loop(turns.link, place.conversation_id, fitted.documents))
    async with aclosing(strategy(candidates[0].strategy)(request, candidates, pool, trace)) as batches:
        async for batch in batches:
            yield batch


async def summaries(asking: Asking, texts: list[str]) -> list[str]:
    """What the model makes of each text, while questions are left; then the text itself, which shortens nothing."""
    found = []
    for text in texts:
        if asking.left < 1:
            found.append(text)
            continue
        messages = [{"role": "system", "content": SUMMARY}, {"role": "user", "content": text}]
        found.append((await asking.whole("summary", messages, max_tokens=200)).text or text)
    return found
