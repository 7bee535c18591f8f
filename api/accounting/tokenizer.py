"""The tokenizer: counts tokens in the vocabulary o200k, with bounded time and memory.

The tokenizer caches its result for every long "word", and holds the interpreter's lock while it
works on one text. So texts are cut into slices of some kilobytes, and the cache is emptied from
time to time. Of texts beyond COUNT_EXACT_CHARS only evenly spread slices are counted. More than a
few kilobytes are counted in one thread, so that the event loop goes on: `encode_batch_flat` works
without the interpreter's lock.
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
SLICES_AT_ONCE = 64  # encoded in one call: about 10 ms of work
SAMPLE_SLICES = 128  # number of slices counted of a very long text
MOST_WAITING = 8  # with so many waiting callers, only samples are counted

_thread = ThreadPoolExecutor(1, thread_name_prefix="counting")
_waiting = 0
_ready = False
_chars_kept = 0  # characters encoded since the tokenizer's cache was emptied


class Count(NamedTuple):
    """The tokens of a text; not `exact` when they were estimated from a sample."""

    tokens: int
    exact: bool = True


def is_ready() -> bool:
    """Return whether the tokenizer is loaded; loading takes too long for the event loop."""
    return _ready


@cache
def vocabulary() -> Any:
    """Return the tokenizer, which takes about 30 MB and is loaded at its first use."""
    from splintr import Tokenizer

    return Tokenizer.from_pretrained("o200k_base")


def count(text: str) -> int:
    """Count the tokens of a short text in this thread."""
    if not text:
        return 0
    limit_cache(len(text))
    return len(vocabulary().encode_ordinary(text))


def count_short(texts: Sequence[str]) -> int:
    """Count the tokens of a few short texts in this thread."""
    return sum(map(count, texts))


def count_all(texts: Sequence[str], most_chars: int) -> Count:
    """Count the tokens of texts of any size; beyond `most_chars`, only those of a sample."""
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
    """Yield slices of a text, cut before a word when one begins in the second half of the slice."""
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
    """Yield evenly spread slices of texts that have `total` characters together."""
    step = max(total // SAMPLE_SLICES, SLICE_CHARS)
    skip = 0  # characters until the next slice
    for text in texts:
        at = skip
        while at < len(text):
            yield text[at : at + SLICE_CHARS]
            at += step
        skip = at - len(text)


def limit_cache(chars: int) -> None:
    """Empty the tokenizer's cache when the texts encoded since the last time exceed its limit.

    `chars` is the number of characters that are about to be encoded.
    """
    global _chars_kept
    _chars_kept += chars
    if _chars_kept > settings.COUNT_CACHE_CHARS:
        vocabulary().clear_cache()
        _chars_kept = chars


def load() -> None:
    """Load the tokenizer and let it build the tables that it builds at its first use."""
    global _ready
    vocabulary().encode_batch_flat(["to be or not to be"])
    _ready = True


async def in_thread(function: Callable[[int], T]) -> T:
    """Return `function(most_chars)`, called in the counting thread.

    `most_chars` is the limit for `count_all`; it is 0 while MOST_WAITING callers wait.
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
