"""The tokenizer: counts tokens in the vocabulary o200k, with bounded time and memory.

The tokenizer caches its result for every long "word", and holds the interpreter's lock while it
works on one text. So texts are cut into slices of some kilobytes, and the cache is emptied from
time to time. Of texts beyond COUNT_EXACT_CHARS only evenly spread slices are counted. More than a
few kilobytes are counted in one thread, so that the event loop goes on: `encode_batch_flat` works
without the interpreter's lock.
"""

import asyncio
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.conf import settings

T = TypeVar("T")
# the models that OpenAI's tiktoken maps to this vocabulary, and its open ones
O200K_MODELS = re.compile(
    r"(?:openai[/.])?(?:gpt-4o|chatgpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|gpt-oss|o[134](?:-|$))"
)
SPECIAL_TOKEN = re.compile(r"<\|\w+\|>")
SLICE_CHARS = 2_048
SLICES_AT_ONCE = 64  # encoded in one call: about 10 ms of work
SAMPLE_SLICES = 128  # number of slices counted of a very long text
MOST_WAITING_CALLERS = 8  # with so many waiting callers, only samples are counted

_executor = ThreadPoolExecutor(1, thread_name_prefix="counting")
_waiting_callers = 0
_is_loaded = False
_cached_chars = 0  # characters encoded since the tokenizer's cache was emptied


class TokenCount(NamedTuple):
    """The tokens of a text; not `is_exact` when they were estimated from a sample."""

    tokens: int
    is_exact: bool = True


def is_ready() -> bool:
    """Return whether the tokenizer is loaded; loading takes too long for the event loop."""
    return _is_loaded


@cache
def load_vocabulary() -> Any:
    """Return the tokenizer, which takes about 30 MB and is loaded at its first use."""
    from splintr import Tokenizer

    return Tokenizer.from_pretrained("o200k_base")


def count_text(text: str) -> int:
    """Count the tokens of a short text in this thread."""
    if not text:
        return 0
    limit_cache(len(text))
    return len(load_vocabulary().encode_ordinary(text))


def count_short_texts(texts: Sequence[str]) -> int:
    """Count the tokens of a few short texts in this thread."""
    return sum(map(count_text, texts))


def count_texts(texts: Sequence[str], most_chars: int) -> TokenCount:
    """Count the tokens of texts of any size; beyond `most_chars`, only those of a sample."""
    slices: Iterator[str]
    total_chars = sum(map(len, texts))
    is_exact = total_chars <= most_chars
    if is_exact:
        slices = (piece for text in texts for piece in slice_text(text))
    else:
        slices = sample_slices(texts, total_chars)
    chars = 0
    tokens = 0
    while batch := list(islice(slices, SLICES_AT_ONCE)):
        batch_chars = sum(map(len, batch))
        limit_cache(batch_chars)
        chars += batch_chars
        tokens += len(load_vocabulary().encode_batch_flat(batch)[0]) // 4  # 32-bit ids
    if not is_exact and chars:
        tokens = round(tokens * total_chars / chars)
    return TokenCount(tokens, is_exact)


def has_exact_vocabulary(model_name: str) -> bool:
    """Return whether a model, by its upstream's name, reads text in this very vocabulary."""
    return O200K_MODELS.match(model_name) is not None


def encode_text(text: str) -> list[int]:
    """Return the tokens of a whole text; markers of special tokens in it are text like any other.

    It takes as long as the text is: call it in the counting thread.
    """
    limit_cache(len(text))
    vocabulary = load_vocabulary()
    if SPECIAL_TOKEN.search(text):  # the faster call would read these as special tokens
        return list(vocabulary.encode_ordinary(text))
    numbers = array("I")
    numbers.frombytes(vocabulary.encode_batch_flat([text])[0])
    return numbers.tolist()


def decode_tokens(tokens: Sequence[int]) -> str:
    """Return the text of tokens; bytes that are no text become U+FFFD.

    Raises ValueError for a number that is no token.
    """
    vocabulary = load_vocabulary()
    if any(not 0 <= token < vocabulary.vocab_size for token in tokens):
        raise ValueError("no token")
    text: str = vocabulary.decode_lossy(list(tokens))
    return text


def slice_text(text: str) -> Iterator[str]:
    """Yield slices of a text, cut before a word when one begins in the second half of the slice."""
    start = 0
    while start < len(text):
        end = start + SLICE_CHARS
        if end < len(text):
            space = text.rfind(" ", start + SLICE_CHARS // 2, end)
            begins_a_word = space > 0 and not text[space + 1].isspace()
            if begins_a_word:
                end = space
        yield text[start:end]
        start = end


def sample_slices(texts: Sequence[str], total_chars: int) -> Iterator[str]:
    """Yield evenly spread slices of texts that have `total_chars` characters together."""
    step = max(total_chars // SAMPLE_SLICES, SLICE_CHARS)
    skip = 0  # characters until the next slice
    for text in texts:
        start = skip
        while start < len(text):
            yield text[start : start + SLICE_CHARS]
            start += step
        skip = start - len(text)


def limit_cache(chars: int) -> None:
    """Empty the tokenizer's cache when the texts encoded since the last time exceed its limit.

    `chars` is the number of characters that are about to be encoded.
    """
    global _cached_chars
    _cached_chars += chars
    if _cached_chars > settings.COUNT_CACHE_CHARS:
        load_vocabulary().clear_cache()
        _cached_chars = chars


def load_tokenizer() -> None:
    """Load the tokenizer and let it build the tables that it builds at its first use."""
    global _is_loaded
    load_vocabulary().encode_batch_flat(["to be or not to be"])
    _is_loaded = True


async def run_in_counting_thread(function: Callable[[int], T]) -> T:
    """Return `function(most_chars)`, called in the counting thread.

    `most_chars` is the limit for `count_texts`; it is 0 while MOST_WAITING_CALLERS wait.
    """
    global _waiting_callers
    loop = asyncio.get_running_loop()
    if not _is_loaded:
        await loop.run_in_executor(_executor, load_tokenizer)
    most_chars = settings.COUNT_EXACT_CHARS if _waiting_callers < MOST_WAITING_CALLERS else 0
    _waiting_callers += 1
    try:
        return await loop.run_in_executor(_executor, function, most_chars)
    finally:
        _waiting_callers -= 1
