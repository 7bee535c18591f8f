"""Summarise the less dense parts of a long text by a model, once, and store the result.

`brief` takes a long text with its outline and a summariser. It returns the text within its
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

from conversations.documents import ingest
from conversations.documents.compress import Plan, acompress
from conversations.documents.index_worker import Indivisible, Outline, Splitting
from conversations.models import Document
from conversations.prompts.long_texts import Long
from conversations.upstream_calls.strategy_calls import Asking
from providers.database.database_threads import in_time, off_loop
from providers.exceptions import GatewayError, Saturated

logger = logging.getLogger(__name__)
MOST = 64  # upstream calls for one request
AT_ONCE = 4
ANSWER_TOKENS = 200
PROMPT = (
    "Say in at most three sentences what the following passage says. Keep names, numbers, dates "
    "and terms as they are, "
    "use the language of the passage, and add nothing."
)


class Summarise(Protocol):
    """An async callable from texts to as many summaries, None for those that failed.

    `left` is how many more it can make; `model` names the model that makes them.
    """

    model: str

    @property
    def left(self) -> int: ...

    async def __call__(self, texts: list[str], /) -> Sequence[str | None]: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text to be summarised, its user (None: nothing is stored) and its length in characters."""

    user_id: int | None
    long: Long
    splitting: Splitting
    chars: int
    threshold: float


class Unfinished(Exception):
    """Not all summaries were made; `text` is the text as far as it was."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Summaries:
    """A summariser that uses the request's model, a few passages at a time.

    After one failed call it makes no more.
    """

    def __init__(self, asking: Asking, model: str) -> None:
        self.model = model
        self._asking = asking
        self._failed = False

    @property
    def left(self) -> int:
        return 0 if self._failed else max(0, self._asking.left)

    async def __call__(self, texts: list[str], /) -> list[str | None]:
        found: list[str | None] = [None] * len(texts)
        waiting = iter(range(len(texts)))

        async def work() -> None:
            for at in waiting:
                if self.left < 1:
                    return
                found[at] = await self._summary(texts[at])

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        return found

    async def _summary(self, text: str) -> str | None:
        messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
        try:
            return (
                await self._asking.whole("summary", messages, max_tokens=ANSWER_TOKENS)
            ).text or text
        except GatewayError as error:
            logger.warning("a long text is not summarised: %s", type(error).__name__)
            self._failed = True
            return None


async def brief(wanted: Wanted, outline: Outline, summarise: Summarise) -> tuple[str, str]:
    """Write the summarised text as a document; return the text and the document's id.

    Both may be empty.

    It is made once for each size (a power of two), model and way of choosing passages. Raises
    DatabaseUnavailable.
    """
    plan = Plan(
        1 << max(wanted.chars, 1).bit_length() - 1,
        threshold=wanted.threshold or 0.5,
        most=summarise.left,
    )
    text = await asyncio.to_thread(wanted.splitting.digest, wanted.long.text)
    mark = f"summaries {plan.budget} {plan.threshold} {plan.most} {summarise.model} {text}"
    digest = hashlib.sha256(mark.encode("utf-8", "replace")).hexdigest()

    async def make() -> str:
        if wanted.user_id is not None and wanted.long.file_id:
            await in_time(off_loop(belongs, wanted.user_id, digest, wanted.long.file_id))
        fitted = await acompress(wanted.long.text, plan, summarise, outline)
        if not fitted.whole or not fitted.rounds:
            raise Unfinished(fitted.text if fitted.rounds else "")
        return fitted.text

    try:
        return await ingest.made_once(wanted.user_id, digest, make)
    except Unfinished as error:
        return error.text, ""
    except (Indivisible, Saturated):
        return "", ""


def belongs(user_id: int, digest: str, file_id: str) -> None:
    """Link a document to the file that its text comes from, before any of its text is written.

    It is deleted with the file. For a database thread. Raises Unfinished when the file is gone.
    """
    try:
        Document.objects.filter(user_id=user_id, digest=digest, file=None).update(source_id=file_id)
    except IntegrityError:
        raise Unfinished("") from None
