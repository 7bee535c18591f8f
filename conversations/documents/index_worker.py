"""Divide, score and index a text in one go; this is all the processor's work of ingestion.

From a text and a `Splitting` comes an `Outline`: where the passages begin and end, their scores and
their index, but not their text. Long texts are divided by a process of their own, so that other
threads need not wait for the interpreter. `main` reads UTF-8 from its input and writes the packed
outline; it ends when its parent process has ended. Imports only its neighbours here.
"""

import gc
import hashlib
import heapq
import os
import resource
import subprocess
import sys
import threading
import time
import zlib
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conversations.documents.index.bm25 import MemoryIndex, PassageHit
from conversations.documents.index.packed_postings import (
    PackedIndex,
    numbers_from_bytes,
    numbers_to_bytes,
    pack_index,
    uint32_array,
)
from conversations.text.density import METHODS, score_density
from conversations.text.split import PASSAGE_CHARS, split_passages
from conversations.text.terms import extract_terms

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from conversations.documents.index_worker "
    "import main; main()"
)
FORMAT_VERSION = "2"  # of packed outlines; a text with an outline of another form is divided again
INLINE_CHARS = 4_000  # shorter texts are divided in place, which is faster than starting a process
LEAST_PASSAGE_CHARS = 100
MOST_PASSAGE_CHARS = 8_000  # characters of a passage
MEMORY_BYTES = 3 * 2**30  # of address space, for one text's division
NICENESS = 5  # answers have priority
WATCH_SECONDS = 1.0  # between two checks whether the parent process still runs
HEADER_BYTES = 8  # two counts: passages, bytes of the table


class IndivisibleText(Exception):
    """A text that takes too much time or memory; the message is a sentence for its owner."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a text is divided.

    Passages have at most `size` characters and repeat at most `overlap` characters of the passage
    before. They are scored by `method` of density.METHODS.
    """

    size: int = PASSAGE_CHARS
    overlap: int = 0
    method: str = "weighted"

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "Splitting":
        """Return the way of dividing that OpenKimi's `processor` options ask for, within limits.

        A missing or senseless value is replaced by the default.
        """
        given = options.get("processor")
        given = given if isinstance(given, dict) else {}
        size = min(
            max(int_or_default(given.get("batch_size"), PASSAGE_CHARS), LEAST_PASSAGE_CHARS),
            MOST_PASSAGE_CHARS,
        )
        overlap = min(max(int_or_default(given.get("overlap_size"), 0), 0), size // 2)
        method = given.get("entropy_method")
        return cls(size, overlap, method if method in METHODS else "weighted")

    def compute_digest(self, text: str) -> str:
        """Return the SHA-256 of the text and of how it is divided, which identifies equal work."""
        mark = hashlib.sha256(
            f"{FORMAT_VERSION} {self.size} {self.overlap} {self.method}\n".encode()
        )
        mark.update(text.encode("utf-8", "replace"))
        return mark.hexdigest()


def int_or_default(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


@dataclass(frozen=True, slots=True)
class Outline:
    """The passages of a text without their text.

    Passage `n` is `text[starts[n]:ends[n]]` and has the score `scores[n]` (0..1).
    """

    starts: Sequence[int]
    ends: Sequence[int]
    scores: Sequence[float]
    index: PackedIndex = field(repr=False)

    def __len__(self) -> int:
        return len(self.starts)

    def passage_length(self, number: int) -> int:
        return self.ends[number] - self.starts[number]

    def rank_by_density(self) -> list[PassageHit]:
        """Return all passages: the opening first, because it introduces the text, then by score."""
        order = heapq.nsmallest(
            len(self), range(len(self)), key=lambda at: (at > 0, -self.scores[at], at)
        )
        return [PassageHit(at, self.scores[at]) for at in order]

    @classmethod
    def from_packed(cls, data: bytes) -> "Outline":
        """Return the outline that `build_packed_outline` packed; its index stays in these bytes.

        Raises ValueError, zlib.error for other bytes.
        """
        passages, size = numbers_from_bytes(data[:HEADER_BYTES])
        end = HEADER_BYTES + size
        table = zlib.decompress(data[HEADER_BYTES:end])
        starts = numbers_from_bytes(table[: 4 * passages])
        ends = numbers_from_bytes(table[4 * passages : 8 * passages])
        scores = array("d")
        scores.frombytes(table[8 * passages :])
        if sys.byteorder == "big":
            scores.byteswap()
        if not len(ends) == len(scores) == passages:
            raise ValueError("the table has another length than its count says")
        return cls(starts, ends, scores, PackedIndex(data[end:]))


@dataclass(frozen=True, slots=True)
class TextDivision:
    """The stored form of a text's division: its packed outline."""

    packed_outline: bytes

    @property
    def scored_spans(self) -> list[tuple[int, int, float]]:
        """The (start, end, score) of each passage."""
        made = Outline.from_packed(self.packed_outline)
        return list(zip(made.starts, made.ends, made.scores, strict=True))


def build_packed_outline(text: str, splitting: Splitting) -> bytes:
    """Return the packed outline of a text; it has no passages when the text is blank.

    The form: two counts (passages, bytes of the table), the table (zlib: starts, ends, scores), the
    index.
    """
    passages = split_passages(text, splitting.size, splitting.overlap)
    pieces = [passage.text for passage in passages]
    words = [extract_terms(piece) for piece in pieces]
    index = MemoryIndex()
    for number, found in enumerate(words):
        index.add_passage(number, found)
    said = score_density(pieces, splitting.method, words, index.postings)
    scores = array("d", [round(score, 6) for score in said])
    if sys.byteorder == "big":
        scores.byteswap()
    spans = (
        uint32_array([passage.start for passage in passages]),
        uint32_array([passage.end for passage in passages]),
    )
    table = zlib.compress(b"".join(map(numbers_to_bytes, spans)) + scores.tobytes())
    return numbers_to_bytes(uint32_array([len(passages), len(table)])) + table + pack_index(index)


def divide_text(text: str, splitting: Splitting, seconds: float) -> TextDivision:
    """Divide a text, in a process of its own when it is long. Run it in a thread.

    Raises Indivisible, and OSError when no process can be started.
    """
    if len(text) <= INLINE_CHARS:
        return TextDivision(build_packed_outline(text, splitting))
    limits = (
        os.getpid(),
        max(1, round(seconds)),
        splitting.size,
        splitting.overlap,
        splitting.method,
    )
    command = [sys.executable, "-I", "-B", "-c", PROGRAM, str(PROJECT_ROOT), *map(str, limits)]
    given = text.encode("utf-8", "replace")
    try:
        done = subprocess.run(  # noqa: S603
            command, input=given, capture_output=True, timeout=seconds, env={}, check=False
        )
    except subprocess.TimeoutExpired:
        raise IndivisibleText(f"Dividing it takes longer than {seconds:g} seconds.") from None
    if done.returncode:
        raise IndivisibleText("Dividing it takes too much time or memory.")
    return TextDivision(done.stdout)


def main() -> None:
    """Run the program with the arguments PARENT CPU_SECONDS SIZE OVERLAP METHOD.

    Its exit status is not 0 when it takes too much time or memory.
    """
    parent, seconds, size, overlap, method = sys.argv[2:7]
    threading.Thread(target=exit_with_parent, args=(int(parent),), daemon=True).start()
    for what, most in ((resource.RLIMIT_CPU, int(seconds)), (resource.RLIMIT_AS, MEMORY_BYTES)):
        with suppress(ValueError, OSError):  # the parent process has a time limit of its own
            resource.setrlimit(what, (most, most))
    os.nice(NICENESS)
    gc.disable()  # there is no garbage before the end
    made = build_packed_outline(
        sys.stdin.buffer.read().decode(), Splitting(int(size), int(overlap), method)
    )
    sys.stdout.buffer.write(made)
    sys.stdout.buffer.flush()


def exit_with_parent(parent_pid: int) -> None:
    """End this process when its parent has ended, because nobody reads the answer then."""
    while os.getppid() == parent_pid:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
