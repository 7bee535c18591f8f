"""Pass an answer through filters, as chunks or as one whole answer. No I/O.

A filter is an object with `filter_chunks(batch) -> batch`, made for one answer. Every answer of an
upstream is treated as a stream, filtered, and folded again if the caller wants it whole. So both
forms are always the same.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from providers.exceptions import BadResponse
from providers.filters import conform
from providers.protocol.chunks import Batches, Chunk

PORTION_CHARS = 1_024  # text that filters get at once: some milliseconds of work at worst
CHUNK_BYTES = 64  # size of a chunk of a whole answer, without its text


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
    folding = AnswerFolder(most_answer_bytes)
    async with aclosing(batches):
        async for batch in batches:
            if batch[0].get("object") == "chat.completion":
                batch = conform.convert_to_chunks(batch[0])
            several = False
            for portion in divide_batch(batch) if filters else (batch,):
                if several:
                    await asyncio.sleep(0)
                several = True
                for step in filters:
                    portion = step.filter_chunks(portion)
                if not stream:
                    folding.add_chunks(portion)
                elif portion:
                    yield portion
    if not stream:
        yield [folding.build_answer()]


# --- portions of long texts -----------------------------------------------------------------------
def divide_batch(batch: list[Chunk]) -> Iterator[list[Chunk]]:
    """Divide a batch so that no portion has much more than PORTION_CHARS of text."""
    portion: list[Chunk] = []
    chars = 0
    for chunk in batch:
        longest = max((len(read_delta_text(choice)) for choice in chunk["choices"]), default=0)
        for piece in (chunk,) if longest <= PORTION_CHARS else divide_chunk(chunk):
            portion.append(piece)
            chars += min(longest, PORTION_CHARS)
            if chars >= PORTION_CHARS:
                yield portion
                portion = []
                chars = 0
    if portion:
        yield portion


def read_delta_text(choice: dict[str, Any]) -> str:
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


def divide_choice(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the choice as several with a part of its text each.

    The fields that stand before the text go with the first part, all others with the last.
    """
    text = read_delta_text(choice)
    if len(text) <= PORTION_CHARS:
        yield choice
        return
    delta = choice["delta"]
    said = {name: value for name, value in delta.items() if name in FIELDS_BEFORE_TEXT}
    later = {name: value for name, value in delta.items() if name not in FIELDS_BEFORE_TEXT}
    bare = {"index": choice["index"], "logprobs": None, "finish_reason": None}
    last = (len(text) - 1) // PORTION_CHARS * PORTION_CHARS
    for start in range(0, last, PORTION_CHARS):
        yield bare | {"delta": said | {"content": text[start : start + PORTION_CHARS]}}
        said = {}
    yield choice | {"delta": later | {"content": text[last:]}}


FIELDS_BEFORE_TEXT = frozenset(("role", "reasoning_content", "reasoning", "reasoning_details"))


# --- whole answers --------------------------------------------------------------------------------
class AnswerFolder:
    """One whole `chat.completion`, folded from a stream's chunks.

    Texts and arguments are joined; of other fields the last value is kept.
    """

    def __init__(self, most_answer_bytes: int) -> None:
        self._bytes_left = most_answer_bytes
        self._answer_fields: Chunk = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._text_pieces: dict[tuple[int, str], list[str]] = {}  # by choice and field
        self._argument_pieces: dict[tuple[int, int], list[str]] = {}  # by choice and call

    def add_chunks(self, chunks: Iterable[Chunk]) -> None:
        """Fold chunks in. Raises BadResponse when the answer becomes too long."""
        for chunk in chunks:
            self._bytes_left -= CHUNK_BYTES
            self._answer_fields |= {
                name: value
                for name, value in chunk.items()
                if name != "choices" and value is not None
            }
            for choice in chunk["choices"]:
                self._add_choice(choice)
            if self._bytes_left < 0:
                raise BadResponse("The upstream sent too long an answer.")

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index = choice["index"]
        empty = {"index": index, "message": {}, "logprobs": None, "finish_reason": None}
        known = self._choices.setdefault(index, empty)
        for name, value in (choice.get("delta") or {}).items():
            if name == "tool_calls":
                for part in value:
                    self._add_call_part(index, known["message"].setdefault("tool_calls", {}), part)
            elif name in JOINED_TEXT_FIELDS and isinstance(value, str):
                self._bytes_left -= len(value)
                self._text_pieces.setdefault((index, name), []).append(value)
                known["message"][name] = ""  # keeps the order of the fields
            elif value is not None or name not in known["message"]:
                known["message"][name] = value
        add_logprobs(known, choice.get("logprobs"))
        known |= {
            name: value
            for name, value in choice.items()
            if name not in FOLDED_CHOICE_FIELDS and value is not None
        }

    def _add_call_part(
        self, index: int, calls: dict[int, dict[str, Any]], part: dict[str, Any]
    ) -> None:
        function = part.get("function") or {}
        arguments = function.get("arguments") or ""
        self._bytes_left -= len(arguments)
        if part["index"] not in calls:
            calls[part["index"]] = part | {"function": dict(function)}
        self._argument_pieces.setdefault((index, part["index"]), []).append(arguments)

    def build_answer(self) -> Chunk:
        """Return the whole answer, when all chunks are in it."""
        for (index, name), texts in self._text_pieces.items():
            self._choices[index]["message"][name] = "".join(texts)
        for index, choice in self._choices.items():
            calls = choice["message"].get("tool_calls")
            if calls is not None:
                choice["message"]["tool_calls"] = [
                    self._complete_call(index, at, calls[at]) for at in sorted(calls)
                ]
        choices = [self._choices[index] for index in sorted(self._choices)]
        return conform.conform_answer(
            self._answer_fields | {"object": "chat.completion", "choices": choices}
        )

    def _complete_call(
        self, choice_index: int, call_index: int, call: dict[str, Any]
    ) -> dict[str, Any]:
        call["function"]["arguments"] = "".join(self._argument_pieces[choice_index, call_index])
        return {name: value for name, value in call.items() if name != "index"}


def fold_answer(chunks: Iterable[Chunk], most_answer_bytes: int = 2**26) -> Chunk:
    """Return one whole answer made of a stream's chunks."""
    folding = AnswerFolder(most_answer_bytes)
    folding.add_chunks(chunks)
    return folding.build_answer()


def fold_text_completion(chunks: Iterable[Chunk]) -> Chunk:
    """Return one whole `text_completion` made of a stream's chunks.

    Texts are joined; of other fields the last value is kept.
    """
    whole: Chunk = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        whole |= {
            name: value for name, value in chunk.items() if name != "choices" and value is not None
        }
        for choice in chunk["choices"]:
            known = choices.setdefault(
                choice["index"], {"text": "", "logprobs": None, "finish_reason": None}
            )
            known["text"] += choice.get("text") or ""
            add_logprobs(known, choice.get("logprobs"))
            known |= {
                name: value
                for name, value in choice.items()
                if name not in FOLDED_COMPLETION_FIELDS and value is not None
            }
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


FOLDED_COMPLETION_FIELDS = frozenset(("text", "logprobs"))
FOLDED_CHOICE_FIELDS = frozenset(("index", "delta", "logprobs"))
JOINED_TEXT_FIELDS = frozenset(("content", "reasoning_content", "reasoning", "refusal"))


def add_logprobs(choice: dict[str, Any], logprobs: Any) -> None:
    if isinstance(logprobs, dict):
        known = choice["logprobs"] = choice["logprobs"] or {}
        for name, value in logprobs.items():
            known[name] = (
                known[name] + value if isinstance(known.get(name), list) and value else value
            )
