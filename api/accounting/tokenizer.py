"""Count the tokens of texts in the vocabulary o200k, with bounded time and memory.

The tokenizer keeps what it made of every long "word" it met, and works on one text without letting
the interpreter go. So a text is cut into slices of some kilobytes, what the tokenizer keeps is
dropped again and again, and of texts beyond COUNT_EXACT_CHARS only evenly spread slices are
counted. Counting of more than a few kilobytes runs in one thread, which lets the event loop go on
meanwhile: `encode_batch_flat` works without the interpreter's lock.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.conf import settings

T = TypeVar("T")
SLICE_CHARS = 2_048
SLICES_AT_ONCE = 64  # given to the tokenizer together: about 10 ms of work
SAMPLE_SLICES = 128  # counted of a text that is too long to be counted whole
MOST_WAITING = 8  # callers in front; with more of them only samples are counted

_thread = ThreadPoolExecutor(1, thread_name_prefix="counting")
_waiting = 0
_ready = False
_chars_kept = 0  # of the texts that were encoded since the tokenizer's cache was emptied


class Count(NamedTuple):
    """Tokens of a text; not `exact` when they were estimated from a sample."""

    tokens: int
    exact: bool = True


def is_ready() -> bool:
    """Whether the tokenizer is loaded: that takes longer than the event loop may be stopped."""
    return _ready


@cache
def vocabulary() -> Any:
    """The tokenizer: about 30 MB, loaded when it is first needed."""
    from splintr import Tokenizer

    return Tokenizer.from_pretrained("o200k_base")


def count(text: str) -> int:
    """Count the tokens of a short text at once."""
    if not text:
        return 0
    limit_cache(len(text))
    return len(vocabulary().encode_ordinary(text))


def count_short(texts: Sequence[str]) -> int:
    """Count the tokens of a few short texts at once."""
    return sum(map(count, texts))


def count_all(texts: Sequence[str], most_chars: int) -> Count:
    """Count the tokens of texts of any size; only a sample of them when they have more than
    `most_chars`.
    """
    total = sum(map(len, texts))
    exact = total <= most_chars
    slices = (
        (piece for text in texts for piece in slices_of(text)) if exact else sample(texts, total)
    )
    chars = tokens = 0
    while batch := list(islice(slices, SLICES_AT_ONCE)):
        size = sum(map(len, batch))
        limit_cache(size)
        chars += size
        tokens += len(vocabulary().encode_batch_flat(batch)[0]) // 4  # 32-bit ids
    return Count(tokens if exact or not chars else round(tokens * total / chars), exact)


def slices_of(text: str) -> Iterator[str]:
    """Cut a text into slices, before a word where one begins in the second half of the slice."""
    start = 0
    while start < len(text):
        end = start + SLICE_CHARS
        if end < len(text):
            space = text.rfind(" ", start + SLICE_CHARS // 2, end)
            begins_a_word = space > 0 and not text[space + 1].isspace()
            end = space if begins_a_word else end
        yield text[start:end]
        start = end


def sample(texts: Sequence[str], total: int) -> Iterator[str]:
    """Cut evenly spread slices out of texts that have `total` characters together."""
    step = max(total // SAMPLE_SLICES, SLICE_CHARS)
    skip = 0  # characters until the next slice
    for text in texts:
        at = skip
        while at < len(text):
            yield text[at : at + SLICE_CHARS]
            at += step
        skip = at - len(text)


def limit_cache(chars: int) -> None:
    """Empty the tokenizer's cache when much was encoded since the last time, these characters with
    it.
    """
    global _chars_kept
    _chars_kept += chars
    if _chars_kept > settings.COUNT_CACHE_CHARS:
        vocabulary().clear_cache()
        _chars_kept = chars


def load() -> None:
    """Load the tokenizer, and let it make the tables that it makes when it is first used."""
    global _ready
    vocabulary().encode_batch_flat(["to be or not to be"])
    _ready = True


async def in_thread(function: Callable[[int], T]) -> T:
    """Return `function(most_chars)`, called in the thread that counts; `most_chars` is for
    `count_all`.
    """
    global _waiting
    loop = asyncio.get_running_loop()
    if not _ready:
        await loop.run_in_executor(_thread, load)
    most_chars = settings.COUNT_EXACT_CHARS if _waiting < MOST_WAITING else 0
    _waiting += 1
    try:
        return await loop.run_in_executor(_thread, function, most_chars)
    finally:
        _waiting -= 1
