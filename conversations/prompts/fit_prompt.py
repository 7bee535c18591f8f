"""Shorten a prompt that is longer than its model's window before it goes upstream.

`fit` takes a chat body, its user, the model's window in tokens and the options of the model's row.
It returns None when everything fits, which is tested first and cheaply. Otherwise it returns a
`Fitted` body, in which the long texts (`long_texts.py`) are excerpts for the last question, and the
documents that were used. Tokens are estimated (`token_estimate.py`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from django.conf import settings

from conversations.documents import ingest
from conversations.documents.excerpt import Frame, excerpt
from conversations.documents.index_worker import Splitting, whole
from conversations.documents.ranking import Embed, Question, asked, ranking
from conversations.prompts.long_texts import (
    Long,
    changed,
    estimate_overhead,
    estimate_prompt_tokens,
    long_texts,
    question_of,
)
from conversations.prompts.summaries import Summarise, Wanted, brief
from conversations.prompts.token_budget import answer_tokens, prompt_tokens
from conversations.text.token_estimate import estimate_tokens
from providers.database.database_threads import LONG, heard
from providers.exceptions import InvalidRequest
from providers.protocol.message_text import list_prompt_texts

# share of the budget for long texts in long conversations too, as far as the window allows
LEAST_SHARE = 0.25
# the room of long texts changes in so many steps, so that an excerpt stays the same for several
# turns
STEPS = 16
QUICK_CHARS = 200_000  # longer texts are counted in a thread
TRIES = 4  # to shorten an excerpt to its tokens
END_CHARS = 4_000  # of the head and of the tail of a system message that are always kept


@dataclass(frozen=True, slots=True)
class Means:
    """Optional helpers: an embedder, a summariser, and a queue key.

    `queue` is the key of the job queue for texts that belong to no user.
    """

    embed: Embed | None = None
    summarise: Summarise | None = None
    queue: object = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The body for the upstream, and the ids of the documents that it was made with."""

    body: dict[str, Any]
    documents: list[str] = field(default_factory=list)


async def fit(
    body: dict[str, Any],
    user_id: int | None,
    window_tokens: int,
    options: dict[str, Any],
    means: Means | None = None,
) -> Fitted | None:
    """Return the body with its long texts shortened, or None when it may go as it is.

    None means that the prompt fits into its share of the window or has no long text. `body` is not
    changed. With `user_id` None nothing is stored; otherwise long texts are saved as documents.
    Raises InvalidRequest, Saturated, DatabaseUnavailable.
    """
    budget = prompt_tokens(window_tokens, body)
    messages = body["messages"]
    chars = sum(len(text) for text in list_prompt_texts(body))
    if chars + estimate_overhead(messages) <= budget:
        return None  # a character is never more than one token here
    total = await weighed(partial(estimate_prompt_tokens, body), chars)
    if total <= budget:
        return None
    found = await weighed(partial(long_texts, messages), chars)
    if not found:
        return None
    taken = sum(long.tokens for long in found)
    room = room_of(budget, total - taken, window_tokens - answer_tokens(window_tokens, body))
    work = Work(user_id, options, means or Means(), question_of(messages))
    documents: list[str] = []
    replaced: dict[tuple[int, int | None], str] = {}
    for long in found:
        used, replaced[long.message, long.part] = await work.shortened(
            long, room * long.tokens // taken
        )
        documents += used
    return Fitted(
        body | {"messages": changed(messages, replaced)},
        list(dict.fromkeys(filter(None, documents))),
    )


def room_of(budget: int, others: int, most: int) -> int:
    """Return the tokens available for long texts.

    It is `budget` less `others`, the tokens of all other messages, but at least LEAST_SHARE of the
    budget, as long as prompt and answer fit the window (`most` tokens for the prompt). The result
    is rounded down to one of STEPS sizes.
    """
    room = min(max(budget - others, int(LEAST_SHARE * budget)), max(0, most - others))
    step = max(1, budget // STEPS)
    return room - room % step if room > step else room


@dataclass(frozen=True, slots=True)
class Work:
    """The values that are the same for all long texts of a request."""

    user_id: int | None
    options: dict[str, Any]
    means: Means
    question: str

    async def shortened(self, long: Long, room: int) -> tuple[list[str], str]:
        """Write the text's documents; return their ids and the text within `room` tokens.

        Raises InvalidRequest when the text is longer than FILE_TEXT_CHARS.
        """
        if len(long.text) > settings.FILE_TEXT_CHARS:
            most = settings.FILE_TEXT_CHARS
            raise InvalidRequest(
                f"A text of this request has more than {most} characters.",
                param="messages",
                code="context_length_exceeded",
            )
        splitting = Splitting.of(self.options)
        known = await ingest.take_in(
            self.user_id, long.text, splitting, file_id=long.file_id, queue=self.means.queue
        )
        question = await self.asked(embedded=bool(known.document_id))
        chars = int(room * len(long.text) / max(long.tokens, 1))
        summary = ""
        summary_id = ""
        if self.options.get("summarise") and self.means.summarise is not None:
            wanted = Wanted(
                self.user_id, long, splitting, chars // (4 if long.instructs else 2), self.threshold
            )
            summary, summary_id = await brief(wanted, known.outline, self.means.summarise)
        frame = Frame(chars, self.threshold, summary, END_CHARS if long.instructs else 0)

        def cut() -> str:
            hits = ranking(known, question) if self.question.strip() else []
            return within_tokens(partial(excerpt, long.text, known.outline, hits), frame, room)

        return [known.document_id, summary_id], await heard(LONG.run(cut))

    async def asked(self, *, embedded: bool) -> Question:
        given = self.options.get("rag")
        most = max(0, whole(given.get("top_k"), 0)) if isinstance(given, dict) else 0
        return await asked(self.question, self.means.embed if embedded else None, most)

    @property
    def threshold(self) -> float:
        """The entropy threshold of the options, if it is between 0 and 1, else 0.0.

        OpenKimi's thresholds are in bits and have no meaning here.
        """
        given = self.options.get("processor")
        value = given.get("entropy_threshold") if isinstance(given, dict) else None
        return float(value) if isinstance(value, int | float) and 0 < value < 1 else 0.0


def within_tokens(made: Callable[[Frame], str], frame: Frame, room: int) -> str:
    """Return the excerpt, made shorter while its estimate is above `room` tokens."""
    said = made(frame)
    for _ in range(TRIES):
        if (many := estimate_tokens(said)) <= room:
            return said
        frame = replace(frame, budget=int(frame.budget * 0.95 * room / many), brief="")
        said = made(frame)
    return said if estimate_tokens(said) <= room else said[:room]


async def weighed(work: Callable[[], Any], chars: int) -> Any:
    """Return the result of `work`; run it in a thread when the texts are long."""
    return work() if chars <= QUICK_CHARS else await asyncio.to_thread(work)
