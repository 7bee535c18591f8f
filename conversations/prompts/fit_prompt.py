"""Shorten a prompt that is longer than its model's window before it goes upstream.

`shorten_prompt` takes a chat body, its user, the model's window in tokens and the options of the
model's row. It returns None when everything fits, which is tested first and cheaply. Otherwise it
returns a `FittedPrompt`: the body with its long texts (`long_texts.py`) cut to what suits the last
question, and the ids of the documents that were used. Tokens are estimated (`token_estimate.py`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from django.conf import settings

from conversations.documents import ingest
from conversations.documents.excerpt import ExcerptFrame, build_excerpt
from conversations.documents.index.bm25 import PassageHit
from conversations.documents.index_worker import Outline, Splitting, int_or_default
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
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.message_text import list_prompt_texts

# long texts get at least this share of the budget, as far as the window allows
MIN_LONG_TEXT_SHARE = 0.25
# the room of long texts changes in so many steps, so that an excerpt stays the same for several
# turns
ROOM_STEPS = 16
QUICK_CHARS = 200_000  # longer texts are counted in a thread
SHRINK_TRIES = 4  # to shorten an excerpt to its tokens
END_CHARS = 4_000  # kept of the head and of the tail of a system message, at most
SUMMARY_DIVISOR = 2  # a summary gets one part of so many of a text's room
INSTRUCTION_SUMMARY_DIVISOR = 4  # in a system message, where head and tail are kept, too
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class FitHelpers:
    """Optional helpers: an embedder, a summariser, and a queue key.

    `queue_key` names the caller in the queue of texts to be divided; None: `user_id` does.
    """

    embed: EmbedTexts | None = None
    summarise: Summarise | None = None
    queue_key: object = None


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """The body for the upstream, and the ids of the documents that it was made with."""

    body: JsonObject
    document_ids: list[str] = field(default_factory=list)


async def shorten_prompt(
    body: FrozenJsonObject,
    user_id: int | None,
    window_tokens: int,
    options: JsonObject,
    helpers: FitHelpers | None = None,
) -> FittedPrompt | None:
    """Return the body with its long texts shortened, or None when it may go as it is.

    None means that the prompt fits (`prompt_token_budget`), or that no text in it may be shortened.
    `body` is not changed. With `user_id` None nothing is stored; otherwise long texts are saved as
    documents, as far as the user has room.
    Raises InvalidRequest, Saturated, DatabaseUnavailable.
    """
    budget = prompt_token_budget(window_tokens, body)
    messages = body["messages"]
    chars = sum(len(text) for text in list_prompt_texts(body))
    if chars + estimate_overhead(messages) <= budget:
        return None  # a character is never more than one token here
    prompt_tokens = await offload_if_long(partial(estimate_prompt_tokens, body), chars)
    if prompt_tokens <= budget:
        return None
    long_texts = await offload_if_long(partial(list_long_texts, messages), chars)
    if not long_texts:
        return None
    long_text_tokens = sum(long_text.tokens for long_text in long_texts)
    max_prompt_tokens = window_tokens - answer_token_budget(window_tokens, body)
    room = calculate_text_room(budget, prompt_tokens - long_text_tokens, max_prompt_tokens)
    shortener = TextShortener(user_id, options, helpers or FitHelpers(), extract_question(messages))
    document_ids: list[str] = []
    replacements: dict[tuple[int, int | None], str] = {}
    for long_text in long_texts:
        share = room * long_text.tokens // long_text_tokens
        used_ids, short_text = await shortener.store_and_shorten(long_text, share)
        replacements[long_text.message_index, long_text.part_index] = short_text
        document_ids += used_ids
    return FittedPrompt(
        {**body, "messages": replace_texts(messages, replacements)},
        list(dict.fromkeys(filter(None, document_ids))),
    )


def calculate_text_room(budget: int, other_tokens: int, max_tokens: int) -> int:
    """Return the tokens available for long texts.

    It is `budget` less `other_tokens`, the tokens of everything else in the prompt, but at least
    MIN_LONG_TEXT_SHARE of the budget, as long as prompt and answer fit the window (`max_tokens`
    tokens for the prompt). A result of more than one step is rounded down to whole steps, of which
    the budget has ROOM_STEPS.
    """
    wanted = max(budget - other_tokens, int(MIN_LONG_TEXT_SHARE * budget))
    room = min(wanted, max(0, max_tokens - other_tokens))
    step = max(1, budget // ROOM_STEPS)
    return room - room % step if room > step else room


@dataclass(frozen=True, slots=True)
class TextShortener:
    """The values that are the same for all long texts of a request."""

    user_id: int | None
    options: JsonObject
    helpers: FitHelpers
    question: str

    async def store_and_shorten(
        self, long_text: LongText, room_tokens: int
    ) -> tuple[list[str], str]:
        """Write the text's documents; return their ids and the text within `room_tokens` tokens.

        An id is empty where no document was stored. Raises InvalidRequest when the text is longer
        than FILE_TEXT_CHARS or cannot be divided, Saturated, DatabaseUnavailable.
        """
        require_allowed_length(long_text.text)
        splitting = Splitting.from_options(self.options)
        ingested_text = await ingest.ingest_text(
            self.user_id,
            long_text.text,
            splitting,
            file_id=long_text.file_id,
            queue=self.helpers.queue_key,
        )
        outline = ingested_text.outline
        question = await self.prepare_question(embedded=bool(ingested_text.document_id))
        room_chars = int(room_tokens * len(long_text.text) / max(long_text.tokens, 1))
        summary, summary_id = await self.summarise(long_text, splitting, outline, room_chars)
        frame = ExcerptFrame(room_chars, self.entropy_threshold, summary)
        if long_text.is_instruction:
            frame = replace(frame, end_chars=END_CHARS)

        def cut_excerpt() -> str:
            hits: list[PassageHit] = []
            if self.question.strip():
                hits = rank_passages(ingested_text, question)
            make_excerpt = partial(build_excerpt, long_text.text, outline, hits)
            return shrink_to_tokens(make_excerpt, frame, room_tokens)

        excerpt = await await_work(LONG.run_work(cut_excerpt))
        return [ingested_text.document_id, summary_id], excerpt

    async def summarise(
        self, long_text: LongText, splitting: Splitting, outline: Outline, room_chars: int
    ) -> tuple[str, str]:
        """Return the summary of a text and its document's id.

        Both are empty when there is none; an unfinished summary has no document.
        """
        if not self.options.get("summarise") or self.helpers.summarise is None:
            return "", ""
        divisor = INSTRUCTION_SUMMARY_DIVISOR if long_text.is_instruction else SUMMARY_DIVISOR
        summary_request = SummaryRequest(
            self.user_id, long_text, splitting, room_chars // divisor, self.entropy_threshold
        )
        return await store_summary(summary_request, outline, self.helpers.summarise)

    async def prepare_question(self, *, embedded: bool) -> Question:
        """Return the question for a text.

        It has an embedding if the text is a stored document (`embedded`) and an embedder is there.
        """
        max_passages = max(0, int_or_default(self._read_section("rag").get("top_k"), 0))
        embed = self.helpers.embed if embedded else None
        return await embed_question(self.question, embed, max_passages)

    @property
    def entropy_threshold(self) -> float:
        """The density from which on a passage counts as dense, between 0 and 1; 0.0: unset.

        The option has OpenKimi's name. Its own thresholds are in bits, and count as unset here.
        """
        threshold = self._read_section("processor").get("entropy_threshold")
        if isinstance(threshold, int | float) and 0 < threshold < 1:
            return float(threshold)
        return 0.0

    def _read_section(self, name: str) -> JsonObject:
        """Return a section of OpenKimi's options, empty when it is missing or no object."""
        section = self.options.get(name)
        return section if isinstance(section, dict) else {}


def require_allowed_length(text: str) -> None:
    """Raise InvalidRequest when a text is longer than FILE_TEXT_CHARS."""
    if len(text) > settings.FILE_TEXT_CHARS:
        raise InvalidRequest(
            f"A text of this request has more than {settings.FILE_TEXT_CHARS} characters.",
            param="messages",
            code="context_length_exceeded",
        )


def shrink_to_tokens(
    make_excerpt: Callable[[ExcerptFrame], str], frame: ExcerptFrame, room_tokens: int
) -> str:
    """Return the excerpt, made shorter while its estimate is above `room_tokens` tokens.

    The summary is left out first. After SHRINK_TRIES the text is simply cut.
    """
    excerpt = make_excerpt(frame)
    for _ in range(SHRINK_TRIES):
        tokens = estimate_tokens(excerpt)
        if tokens <= room_tokens:
            return excerpt
        budget_chars = int(frame.budget_chars * 0.95 * room_tokens / tokens)
        frame = replace(frame, budget_chars=budget_chars, summary="")
        excerpt = make_excerpt(frame)
    if estimate_tokens(excerpt) <= room_tokens:
        return excerpt
    return excerpt[:room_tokens]


async def offload_if_long(work: Callable[[], Result], chars: int) -> Result:
    """Return the result of `work`; run it in a thread when the texts are long."""
    if chars <= QUICK_CHARS:
        return work()
    return await asyncio.to_thread(work)
