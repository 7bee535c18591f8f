"""Shorten a prompt that is longer than its model's window before it goes upstream.

`shorten_prompt` takes a chat body, its user, the model's window in tokens and the options of the
model's row. It returns None when everything fits, which is tested first and cheaply. Otherwise it
returns a `FittedPrompt` body, in which the long texts (`list_long_texts.py`) are excerpts for the
last question, and the documents that were used. Tokens are estimated (`token_estimate.py`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from django.conf import settings

from conversations.documents import ingest
from conversations.documents.excerpt import ExcerptFrame, build_excerpt
from conversations.documents.index_worker import Splitting, int_or_default
from conversations.documents.ranking import EmbedTexts, Question, embed_question, rank_passages
from conversations.prompts.long_texts import (
    LongText,
    estimate_overhead,
    estimate_prompt_tokens,
    extract_question,
    list_long_texts,
    replace_texts,
)
from conversations.prompts.summaries import Summarise, SummaryRequest, store_summary
from conversations.prompts.token_budget import answer_token_budget, prompt_token_budget
from conversations.text.token_estimate import estimate_tokens
from providers.database.database_threads import LONG, await_work
from providers.exceptions import InvalidRequest
from providers.protocol.message_text import list_prompt_texts

# share of the budget for long texts in long conversations too, as far as the window allows
MIN_LONG_TEXT_SHARE = 0.25
# the room of long texts changes in so many steps, so that an excerpt stays the same for several
# turns
ROOM_STEPS = 16
QUICK_CHARS = 200_000  # longer texts are counted in a thread
SHRINK_TRIES = 4  # to shorten an excerpt to its tokens
END_CHARS = 4_000  # of the head and of the tail of a system message that are always kept


@dataclass(frozen=True, slots=True)
class FitHelpers:
    """Optional helpers: an embedder, a summariser, and a queue key.

    `queue_key` is the key of the job queue for texts that belong to no user.
    """

    embed: EmbedTexts | None = None
    summarise: Summarise | None = None
    queue_key: object = None


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """The body for the upstream, and the ids of the documents that it was made with."""

    body: dict[str, Any]
    document_ids: list[str] = field(default_factory=list)


async def shorten_prompt(
    body: dict[str, Any],
    user_id: int | None,
    window_tokens: int,
    options: dict[str, Any],
    helpers: FitHelpers | None = None,
) -> FittedPrompt | None:
    """Return the body with its long texts shortened, or None when it may go as it is.

    None means that the prompt fits into its share of the window or has no long text. `body` is not
    changed. With `user_id` None nothing is stored; otherwise long texts are saved as documents.
    Raises InvalidRequest, Saturated, DatabaseUnavailable.
    """
    budget = prompt_token_budget(window_tokens, body)
    messages = body["messages"]
    chars = sum(len(text) for text in list_prompt_texts(body))
    if chars + estimate_overhead(messages) <= budget:
        return None  # a character is never more than one token here
    total = await offload_if_long(partial(estimate_prompt_tokens, body), chars)
    if total <= budget:
        return None
    found = await offload_if_long(partial(list_long_texts, messages), chars)
    if not found:
        return None
    taken = sum(long.tokens for long in found)
    room = calculate_text_room(
        budget, total - taken, window_tokens - answer_token_budget(window_tokens, body)
    )
    work = TextShortener(user_id, options, helpers or FitHelpers(), extract_question(messages))
    documents: list[str] = []
    replaced: dict[tuple[int, int | None], str] = {}
    for long in found:
        used, replaced[long.message_index, long.part_index] = await work.store_and_shorten(
            long, room * long.tokens // taken
        )
        documents += used
    return FittedPrompt(
        body | {"messages": replace_texts(messages, replaced)},
        list(dict.fromkeys(filter(None, documents))),
    )


def calculate_text_room(budget: int, other_tokens: int, max_tokens: int) -> int:
    """Return the tokens available for long texts.

    It is `budget` less `other_tokens`, the tokens of all other messages, but at least LEAST_SHARE
    of the budget, as long as prompt and answer fit the window (`max_tokens` tokens for the prompt).
    The result is rounded down to one of STEPS sizes.
    """
    room = min(
        max(budget - other_tokens, int(MIN_LONG_TEXT_SHARE * budget)),
        max(0, max_tokens - other_tokens),
    )
    step = max(1, budget // ROOM_STEPS)
    return room - room % step if room > step else room


@dataclass(frozen=True, slots=True)
class TextShortener:
    """The values that are the same for all long texts of a request."""

    user_id: int | None
    options: dict[str, Any]
    helpers: FitHelpers
    question: str

    async def store_and_shorten(
        self, long_text: LongText, room_tokens: int
    ) -> tuple[list[str], str]:
        """Write the text's documents; return their ids and the text within `room_tokens` tokens.

        Raises InvalidRequest when the text is longer than FILE_TEXT_CHARS.
        """
        if len(long_text.text) > settings.FILE_TEXT_CHARS:
            most = settings.FILE_TEXT_CHARS
            raise InvalidRequest(
                f"A text of this request has more than {most} characters.",
                param="messages",
                code="context_length_exceeded",
            )
        splitting = Splitting.from_options(self.options)
        known = await ingest.ingest_text(
            self.user_id,
            long_text.text,
            splitting,
            file_id=long_text.file_id,
            queue=self.helpers.queue_key,
        )
        question = await self.prepare_question(embedded=bool(known.document_id))
        chars = int(room_tokens * len(long_text.text) / max(long_text.tokens, 1))
        summary = ""
        summary_id = ""
        if self.options.get("summarise") and self.helpers.summarise is not None:
            wanted = SummaryRequest(
                self.user_id,
                long_text,
                splitting,
                chars // (4 if long_text.is_instruction else 2),
                self.entropy_threshold,
            )
            summary, summary_id = await store_summary(wanted, known.outline, self.helpers.summarise)
        frame = ExcerptFrame(
            chars, self.entropy_threshold, summary, END_CHARS if long_text.is_instruction else 0
        )

        def cut_excerpt() -> str:
            hits = rank_passages(known, question) if self.question.strip() else []
            return shrink_to_tokens(
                partial(build_excerpt, long_text.text, known.outline, hits), frame, room_tokens
            )

        return [known.document_id, summary_id], await await_work(LONG.run_work(cut_excerpt))

    async def prepare_question(self, *, embedded: bool) -> Question:
        given = self.options.get("rag")
        most = max(0, int_or_default(given.get("top_k"), 0)) if isinstance(given, dict) else 0
        return await embed_question(self.question, self.helpers.embed if embedded else None, most)

    @property
    def entropy_threshold(self) -> float:
        """The entropy threshold of the options, if it is between 0 and 1, else 0.0.

        OpenKimi's thresholds are in bits and have no meaning here.
        """
        given = self.options.get("processor")
        value = given.get("entropy_threshold") if isinstance(given, dict) else None
        return float(value) if isinstance(value, int | float) and 0 < value < 1 else 0.0


def shrink_to_tokens(
    make_excerpt: Callable[[ExcerptFrame], str], frame: ExcerptFrame, room_tokens: int
) -> str:
    """Return the excerpt, made shorter while its estimate is above `room_tokens` tokens."""
    said = make_excerpt(frame)
    for _ in range(SHRINK_TRIES):
        if (many := estimate_tokens(said)) <= room_tokens:
            return said
        frame = replace(
            frame, budget_chars=int(frame.budget_chars * 0.95 * room_tokens / many), summary=""
        )
        said = make_excerpt(frame)
    return said if estimate_tokens(said) <= room_tokens else said[:room_tokens]


async def offload_if_long(work: Callable[[], Any], chars: int) -> Any:
    """Return the result of `work`; run it in a thread when the texts are long."""
    return work() if chars <= QUICK_CHARS else await asyncio.to_thread(work)
