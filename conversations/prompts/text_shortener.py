"""Shorten one long text of a prompt for its question, and store it as a document."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from django.conf import settings

from conversations.documents import ingest
from conversations.documents.excerpt import ExcerptFrame, build_excerpt
from conversations.documents.index.bm25 import PassageHit
from conversations.documents.index_worker import Outline, Splitting, int_or_default
from conversations.documents.ranking import (
    EmbedTexts,
    IngestedText,
    Question,
    embed_question,
    rank_passages,
)
from conversations.prompts.long_texts import LongText
from conversations.prompts.summaries import Summarise, SummaryRequest, store_summary
from conversations.text.token_estimate import estimate_tokens
from providers.database.database_threads import LONG, await_work
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

SHRINK_TRIES = 4  # to shorten an excerpt to its tokens
END_CHARS = 4_000  # kept of the head and of the tail of a system message, at most
SUMMARY_DIVISOR = 2  # a summary gets one part of so many of a text's room
INSTRUCTION_SUMMARY_DIVISOR = 4  # in a system message, where head and tail are kept, too
Place = tuple[int, int | None]  # of a text: its message and its part
SummaryKey = tuple[int, int | None, int]  # and the characters of its summary


@dataclass(frozen=True, slots=True)
class FitHelpers:
    """Optional helpers: an embedder, a summariser, and a queue key.

    `queue_key` names the caller in the queue of texts to be divided; None: `user_id` does.
    """

    embed: EmbedTexts | None = None
    summarise: Summarise | None = None
    queue_key: object = None


@dataclass(slots=True)
class TextShortener:
    """The values that are the same for all long texts of a request, and what is made of these once.

    `question` is the user's last question.
    """

    user_id: int | None
    options: JsonObject
    helpers: FitHelpers
    question: str
    _ingested_texts: dict[Place, IngestedText] = field(default_factory=dict)
    _summaries: dict[SummaryKey, tuple[str, str]] = field(default_factory=dict)
    _question: Question | None = None

    async def store_and_shorten(
        self, long_text: LongText, room_tokens: int
    ) -> tuple[list[str], str]:
        """Write the text's documents; return their ids and the text within `room_tokens` tokens.

        An id is empty where no document was stored. Raises InvalidRequest when the text is longer
        than FILE_TEXT_CHARS or cannot be divided, Saturated, DatabaseUnavailable.
        """
        require_allowed_length(long_text.text)
        splitting = Splitting.from_options(self.options)
        ingested_text = await self._ingest_once(long_text, splitting)
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

    async def _ingest_once(self, long_text: LongText, splitting: Splitting) -> IngestedText:
        """Take a text in; write its document. A strategy shortens the same text several times."""
        place = (long_text.message_index, long_text.part_index)
        if place not in self._ingested_texts:
            self._ingested_texts[place] = await ingest.ingest_text(
                self.user_id,
                long_text.text,
                splitting,
                file_id=long_text.file_id,
                queue=self.helpers.queue_key,
            )
        return self._ingested_texts[place]

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
        place = (long_text.message_index, long_text.part_index, room_chars // divisor)
        if place not in self._summaries:
            self._summaries[place] = await store_summary(
                summary_request, outline, self.helpers.summarise
            )
        return self._summaries[place]

    async def prepare_question(self, *, embedded: bool) -> Question:
        """Return the question for a text.

        It has an embedding if the text is a stored document (`embedded`) and an embedder is there.
        """
        max_passages = max(0, int_or_default(self._read_section("rag").get("top_k"), 0))
        embed = self.helpers.embed if embedded else None
        if embed is None:
            return Question(self.question, None, max_passages)
        if self._question is None:
            self._question = await embed_question(self.question, embed, max_passages)
        return self._question

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
