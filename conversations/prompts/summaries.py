"""Summarise the less dense parts of a long text by a model, once, and store the result.

`store_summary` takes a long text with its outline and a summariser. It returns the text within its
characters, stored as a document of its own that is deleted with the file of the text. A summary
that is incomplete (the model fails, time or calls are used up) is used as far as it goes and not
stored.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from django.db import IntegrityError

from conversations.documents import made_texts
from conversations.documents.compress import CompressionPlan, compress_text
from conversations.documents.index_worker import IndivisibleText, Outline, Splitting
from conversations.models import Document
from conversations.prompts.long_texts import LongText
from conversations.upstream_calls.strategy_calls import StrategyCalls
from providers.database.database_threads import await_in_time, run_in_thread
from providers.exceptions import GatewayError, Saturated

logger = logging.getLogger(__name__)
MAX_SUMMARY_CALLS = 64  # upstream calls for one request
SUMMARIES_AT_ONCE = 4
SUMMARY_TOKENS = 200
SUMMARY_PROMPT = (
    "Say in at most three sentences what the following passage says. Keep names, numbers, dates "
    "and terms as they are, "
    "use the language of the passage, and add nothing."
)


class Summarise(Protocol):
    """An async callable from texts to as many summaries, None for those that failed.

    `calls_left` is how many more it can make; `model` names the model that makes them.
    """

    model: str

    @property
    def calls_left(self) -> int: ...

    async def __call__(self, texts: list[str], /) -> Sequence[str | None]: ...


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """A text to be summarised, its user (None: nothing is stored) and its length in characters."""

    user_id: int | None
    long_text: LongText
    splitting: Splitting
    max_chars: int
    threshold: float


class SummaryUnfinished(Exception):
    """Not all summaries were made; `text` is the text as far as it was."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class ModelSummariser:
    """A summariser that uses the request's model, a few passages at a time.

    After one failed call it makes no more.
    """

    def __init__(self, calls: StrategyCalls, model: str) -> None:
        self.model = model
        self._calls = calls
        self._has_failed = False

    @property
    def calls_left(self) -> int:
        return 0 if self._has_failed else max(0, self._calls.calls_left)

    async def __call__(self, texts: list[str], /) -> list[str | None]:
        summaries: list[str | None] = [None] * len(texts)
        remaining_texts = enumerate(texts)  # shared by all workers

        async def summarise_next() -> None:
            for index, text in remaining_texts:
                if self.calls_left < 1:
                    return
                summaries[index] = await self._summarise_passage(text)

        async with asyncio.TaskGroup() as group:
            for _ in range(SUMMARIES_AT_ONCE):
                group.create_task(summarise_next())
        return summaries

    async def _summarise_passage(self, text: str) -> str | None:
        messages = [
            {"role": "system", "content": SUMMARY_PROMPT},
            {"role": "user", "content": text},
        ]
        try:
            answer = await self._calls.request_intermediate_answer(
                "summary", messages, max_tokens=SUMMARY_TOKENS
            )
        except GatewayError as error:
            logger.warning("a long text is not summarised: %s", type(error).__name__)
            self._has_failed = True
            return None
        return answer.text or text


async def store_summary(
    summary_request: SummaryRequest, outline: Outline, summarise: Summarise
) -> tuple[str, str]:
    """Write the summarised text as a document; return the text and the document's id.

    Both may be empty. The text is summarised once for each size (a power of two), model and way of
    choosing passages. Raises DatabaseUnavailable.
    """
    user_id = summary_request.user_id
    long_text = summary_request.long_text
    plan = CompressionPlan(
        1 << max(summary_request.max_chars, 1).bit_length() - 1,
        threshold=summary_request.threshold or 0.5,
        most_summaries=summarise.calls_left,
    )
    text_digest = await asyncio.to_thread(summary_request.splitting.compute_digest, long_text.text)
    digest = compute_summary_digest(plan, summarise.model, text_digest)

    async def make_summary() -> str:
        if user_id is not None and long_text.file_id:
            await await_in_time(
                run_in_thread(record_source_file, user_id, digest, long_text.file_id)
            )
        compressed = await compress_text(long_text.text, plan, summarise, outline)
        if not compressed.round_count:
            raise SummaryUnfinished("")
        if not compressed.has_all_summaries:
            raise SummaryUnfinished(compressed.text)
        return compressed.text

    try:
        return await made_texts.create_text_once(user_id, digest, make_summary)
    except SummaryUnfinished as error:
        return error.text, ""
    except (IndivisibleText, Saturated):
        return "", ""


def compute_summary_digest(plan: CompressionPlan, model: str, text_digest: str) -> str:
    """Return the SHA-256 that identifies equal summaries of equal texts."""
    options = f"{plan.budget_chars} {plan.threshold} {plan.most_summaries}"
    mark = f"summaries {options} {model} {text_digest}"
    return hashlib.sha256(mark.encode("utf-8", "replace")).hexdigest()


def record_source_file(user_id: int, digest: str, file_id: str) -> None:
    """Link a document to the file that its text comes from, before any of its text is written.

    It is deleted with the file. For a database thread. Raises SummaryUnfinished when the file is
    gone.
    """
    try:
        Document.objects.filter(user_id=user_id, digest=digest, file=None).update(source_id=file_id)
    except IntegrityError:
        raise SummaryUnfinished("") from None
