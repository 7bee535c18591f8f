"""Pass an answer through filters, as chunks or as one whole answer. No I/O.

A filter is an object with `filter_chunks(batch) -> batch`, made for one answer. Every answer of an
upstream is treated as a stream, filtered, and folded again if the caller wants it whole. So both
forms are always the same.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

from providers.filters import conform
from providers.filters.answer_folder import AnswerFolder
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.json_types import JsonObject

PORTION_CHARS = 1_024  # text that filters get at once: some milliseconds of work at worst
# the fields of a delta that go with the first part of a divided text
FIELDS_BEFORE_TEXT = frozenset(("role", "reasoning_content", "reasoning", "reasoning_details"))


class Filter(Protocol):
    def filter_chunks(self, batch: list[Chunk]) -> list[Chunk]:
        """Return the filtered batch.

        All text that was held back must be returned before or with a choice's finish reason.
        """


async def apply_filters(
    batches: Batches, filters: Sequence[Filter], *, stream: bool, most_answer_bytes: int = 2**26
) -> Batches:
    """Yield the answer through `filters`, in their order; as one whole answer unless `stream`.

    A whole answer may have at most `most_answer_bytes`; BadResponse is raised if it is longer.
    Other tasks may run between portions of long texts.
    """
    folder = AnswerFolder(most_answer_bytes)
    portions = divide_batches(batches) if filters else batches
    async with aclosing(portions):
        async for portion in portions:
            portion = conform.convert_whole_answer(portion)
            for step in filters:
                portion = step.filter_chunks(portion)
            if not stream:
                folder.add_chunks(portion)
            elif portion:
                yield portion
    if not stream:
        yield [folder.build_answer()]


# --- portions of long texts -----------------------------------------------------------------------
async def divide_batches(batches: Batches) -> Batches:
    """Yield the batches in portions; other tasks may run between the portions of one batch."""
    async with aclosing(batches):
        async for batch in batches:
            portions = divide_batch(conform.convert_whole_answer(batch))
            yield next(portions)
            for portion in portions:
                await asyncio.sleep(0)
                yield portion


def divide_batch(batch: list[Chunk]) -> Iterator[list[Chunk]]:
    """Divide a batch so that no portion has much more than PORTION_CHARS of text."""
    portion: list[Chunk] = []
    chars = 0
    for chunk in batch:
        longest = max((len(read_delta_text(choice)) for choice in chunk["choices"]), default=0)
        pieces = divide_chunk(chunk) if longest > PORTION_CHARS else (chunk,)
        for piece in pieces:
            portion.append(piece)
            chars += min(longest, PORTION_CHARS)
            if chars >= PORTION_CHARS:
                yield portion
                portion = []
                chars = 0
    if portion:
        yield portion


def read_delta_text(choice: JsonObject) -> str:
    """Return the text of a choice's delta."""
    text = (choice.get("delta") or {}).get("content")
    return text if isinstance(text, str) else ""


def divide_chunk(chunk: Chunk) -> Iterator[Chunk]:
    """Yield the chunk as several, each with one choice and a part of its text."""
    head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
    for choice in chunk["choices"]:
        for part in divide_choice(choice):
            yield head | {"choices": [part]}
    if chunk.get("usage"):
        yield head | {"choices": [], "usage": chunk["usage"]}


def divide_choice(choice: JsonObject) -> Iterator[JsonObject]:
    """Yield the choice as several with a part of its text each.

    The fields that stand before the text go with the first part, all others with the last.
    """
    text = read_delta_text(choice)
    if len(text) <= PORTION_CHARS:
        yield choice
        return
    delta = choice["delta"]
    first_fields = {name: value for name, value in delta.items() if name in FIELDS_BEFORE_TEXT}
    last_fields = {name: value for name, value in delta.items() if name not in FIELDS_BEFORE_TEXT}
    head = {"index": choice["index"], "logprobs": None, "finish_reason": None}
    last_start = (len(text) - 1) // PORTION_CHARS * PORTION_CHARS
    for start in range(0, last_start, PORTION_CHARS):
        yield head | {"delta": first_fields | {"content": text[start : start + PORTION_CHARS]}}
        first_fields = {}
    yield choice | {"delta": last_fields | {"content": text[last_start:]}}
