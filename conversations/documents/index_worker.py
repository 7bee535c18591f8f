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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

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
ScoredSpan = tuple[int, int, float]  # start, end and score of a passage


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
    def from_options(cls, options: Mapping[str, object]) -> "Splitting":
        """Return the way of dividing that OpenKimi's `processor` options ask for, within limits.

        A missing or senseless value is replaced by the default.
        """
        processor = options.get("processor")
        if not isinstance(processor, dict):
            return cls()
        size = int_or_default(processor.get("batch_size"), PASSAGE_CHARS)
        size = min(max(size, LEAST_PASSAGE_CHARS), MOST_PASSAGE_CHARS)
        overlap = int_or_default(processor.get("overlap_size"), 0)
        overlap = min(max(overlap, 0), size // 2)
        method = processor.get("entropy_method")
        return cls(size, overlap, method if method in METHODS else "weighted")

    def compute_digest(self, text: str) -> str:
        """Return the SHA-256 of the text and of how it is divided, which identifies equal work."""
        way = f"{FORMAT_VERSION} {self.size} {self.overlap} {self.method}\n"
        digest = hashlib.sha256(way.encode())
        digest.update(text.encode("utf-8", "replace"))
        return digest.hexdigest()


def int_or_default(value: object, default: int) -> int:
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
            len(self),
            range(len(self)),
            key=lambda number: (number > 0, -self.scores[number], number),
        )
        return [PassageHit(number, self.scores[number]) for number in order]

    @classmethod
    def from_packed(cls, data: bytes) -> "Outline":
        """Return the outline that `build_packed_outline` packed; its index stays in these bytes.

        Raises ValueError, zlib.error for other bytes.
        """
        passage_count, table_bytes = numbers_from_bytes(data[:HEADER_BYTES])
        table_end = HEADER_BYTES + table_bytes
        table = zlib.decompress(data[HEADER_BYTES:table_end])
        starts = numbers_from_bytes(table[: 4 * passage_count])
        ends = numbers_from_bytes(table[4 * passage_count : 8 * passage_count])
        scores = array("d")
        scores.frombytes(table[8 * passage_count :])
        if sys.byteorder == "big":
            scores.byteswap()
        if not len(ends) == len(scores) == passage_count:
            raise ValueError("the table has another length than its count says")
        return cls(starts, ends, scores, PackedIndex(data[table_end:]))


@dataclass(frozen=True, slots=True)
class TextDivision:
    """The stored form of a text's division: its packed outline."""

    packed_outline: bytes

    @property
    def scored_spans(self) -> list[ScoredSpan]:
        """The span and score of each passage."""
        outline = Outline.from_packed(self.packed_outline)
        return list(zip(outline.starts, outline.ends, outline.scores, strict=True))


def build_packed_outline(text: str, splitting: Splitting) -> bytes:
    """Return the packed outline of a text; it has no passages when the text is blank.

    The form: two counts (passages, bytes of the table), the table (zlib: starts, ends, scores), the
    index.
    """
    passages = split_passages(text, splitting.size, splitting.overlap)
    texts = [passage.text for passage in passages]
    passage_terms = [extract_terms(passage_text) for passage_text in texts]
    index = MemoryIndex()
    for number, terms in enumerate(passage_terms):
        index.add_passage(number, terms)
    densities = score_density(texts, splitting.method, passage_terms, index.postings)
    scores = array("d", [round(density, 6) for density in densities])
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

    Raises IndivisibleText, and OSError when no process can be started.
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
    data = text.encode("utf-8", "replace")
    try:
        done = subprocess.run(  # noqa: S603
            command, input=data, capture_output=True, timeout=seconds, env={}, check=False
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
    limits = {resource.RLIMIT_CPU: int(seconds), resource.RLIMIT_AS: MEMORY_BYTES}
    for kind, limit in limits.items():
        with suppress(ValueError, OSError):  # the parent process has a time limit of its own
            resource.setrlimit(kind, (limit, limit))
    os.nice(NICENESS)
    gc.disable()  # there is no garbage before the end
    text = sys.stdin.buffer.read().decode()
    splitting = Splitting(int(size), int(overlap), method)
    sys.stdout.buffer.write(build_packed_outline(text, splitting))
    sys.stdout.buffer.flush()


def exit_with_parent(parent_pid: int) -> None:
    """End this process when its parent has ended, because nobody reads the answer then."""
    while os.getppid() == parent_pid:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
