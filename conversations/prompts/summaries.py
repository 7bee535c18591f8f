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
        found: list[str | None] = [None] * len(texts)
        waiting = iter(range(len(texts)))

        async def summarise_next() -> None:
            for at in waiting:
                if self.calls_left < 1:
                    return
                found[at] = await self._summarise_passage(texts[at])

        async with asyncio.TaskGroup() as group:
            for _ in range(SUMMARIES_AT_ONCE):
                group.create_task(summarise_next())
        return found

    async def _summarise_passage(self, text: str) -> str | None:
        messages = [
            {"role": "system", "content": SUMMARY_PROMPT},
            {"role": "user", "content": text},
        ]
        try:
            return (
                await self._calls.request_intermediate_answer(
                    "summary", messages, max_tokens=SUMMARY_TOKENS
                )
            ).text or text
        except GatewayError as error:
            logger.warning("a long text is not summarised: %s", type(error).__name__)
            self._has_failed = True
            return None


async def store_summary(
    summary_request: SummaryRequest, outline: Outline, summarise: Summarise
) -> tuple[str, str]:
    """Write the summarised text as a document; return the text and the document's id.

    Both may be empty.

    It is made once for each size (a power of two), model and way of choosing passages. Raises
    DatabaseUnavailable.
    """
    plan = CompressionPlan(
        1 << max(summary_request.max_chars, 1).bit_length() - 1,
        threshold=summary_request.threshold or 0.5,
        most_summaries=summarise.calls_left,
    )
    text = await asyncio.to_thread(
        summary_request.splitting.compute_digest, summary_request.long_text.text
    )
    options = f"{plan.budget_chars} {plan.threshold} {plan.most_summaries}"
    mark = f"summaries {options} {summarise.model} {text}"
    digest = hashlib.sha256(mark.encode("utf-8", "replace")).hexdigest()

    async def make_summary() -> str:
        if summary_request.user_id is not None and summary_request.long_text.file_id:
            await await_in_time(
                run_in_thread(
                    record_source_file,
                    summary_request.user_id,
                    digest,
                    summary_request.long_text.file_id,
                )
            )
        fitted = await compress_text(summary_request.long_text.text, plan, summarise, outline)
        if not fitted.has_all_summaries or not fitted.round_count:
            raise SummaryUnfinished(fitted.text if fitted.round_count else "")
        return fitted.text

    try:
        return await made_texts.create_text_once(summary_request.user_id, digest, make_summary)
    except SummaryUnfinished as error:
        return error.text, ""
    except (IndivisibleText, Saturated):
        return "", ""


def record_source_file(user_id: int, digest: str, file_id: str) -> None:
    """Link a document to the file that its text comes from, before any of its text is written.

    It is deleted with the file. For a database thread. Raises Unfinished when the file is gone.
    """
    try:
        Document.objects.filter(user_id=user_id, digest=digest, file=None).update(source_id=file_id)
    except IntegrityError:
        raise SummaryUnfinished("") from None
