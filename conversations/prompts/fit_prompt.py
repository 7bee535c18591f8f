"""A prompt that is longer than its model's window, made to fit before it goes upstream.

In: a chat body, its user, the model's window in tokens and the options of its row. Out: None when
everything fits, which is tested first and cheaply; else a `Fitted` body in which the long texts
(`long_texts.py`) are excerpts for the last question, and the documents that were used. Tokens are
estimated (`token_estimate.py`).
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

# of the budget that long texts have, however long the conversation is, while the window has it
LEAST_SHARE = 0.25
# the room of long texts changes in so many steps: what is shown of them stays the same for some
# turns
STEPS = 16
QUICK_CHARS = 200_000  # more are weighed in a thread
TRIES = 4  # to get an excerpt under its tokens
END_CHARS = 4_000  # of a system message's head and of its tail that stay


@dataclass(frozen=True, slots=True)
class Means:
    """What fitting may use besides: embeddings of questions, a model's summaries; and whose turn it
    is to have texts divided when they are nobody's.
    """

    embed: Embed | None = None
    summarise: Summarise | None = None
    queue: object = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The body that goes upstream, and the ids of the documents that it was made with."""

    body: dict[str, Any]
    documents: list[str] = field(default_factory=list)


async def fit(
    body: dict[str, Any],
    user_id: int | None,
    window_tokens: int,
    options: dict[str, Any],
    means: Means | None = None,
) -> Fitted | None:
    """None when the prompt fits into its share of the window or has no long text, else the fitted
    body; `body` stays as it is. `user_id` None: nothing is stored. Raises InvalidRequest,
    Saturated, DatabaseUnavailable.
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
    """Tokens of the long texts where all `others` have so many: what is left of the budget, or else
    a share of it while prompt and answer fit into the window, where prompts have `most`.
    """
    room = min(max(budget - others, int(LEAST_SHARE * budget)), max(0, most - others))
    step = max(1, budget // STEPS)
    return room - room % step if room > step else room


@dataclass(frozen=True, slots=True)
class Work:
    """What is the same for all long texts of a request."""

    user_id: int | None
    options: dict[str, Any]
    means: Means
    question: str

    async def shortened(self, long: Long, room: int) -> tuple[list[str], str]:
        """The long text within `room` tokens, and the ids of its documents."""
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
        """0..1; OpenKimi's thresholds in bits mean nothing here."""
        given = self.options.get("processor")
        value = given.get("entropy_threshold") if isinstance(given, dict) else None
        return float(value) if isinstance(value, int | float) and 0 < value < 1 else 0.0


def within_tokens(made: Callable[[Frame], str], frame: Frame, room: int) -> str:
    """The excerpt; shorter while it is estimated above its room."""
    said = made(frame)
    for _ in range(TRIES):
        if (many := estimate_tokens(said)) <= room:
            return said
        frame = replace(frame, budget=int(frame.budget * 0.95 * room / many), brief="")
        said = made(frame)
    return said if estimate_tokens(said) <= room else said[:room]


async def weighed(work: Callable[[], Any], chars: int) -> Any:
    """What the work gives; for long texts it is done in a thread."""
    return work() if chars <= QUICK_CHARS else await asyncio.to_thread(work)
