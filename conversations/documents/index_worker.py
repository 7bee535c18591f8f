"""A text divided, scored and indexed in one go: all that ingestion costs of the processor.

In: a text and a `Splitting`. Out: an `Outline`, which says where its passages begin and end, how
much each says, and holds their index, but none of their text. Long texts are divided by a process
of its own, so that nobody else has to wait for the interpreter: `main` reads UTF-8 from its input
and writes the packed outline, and ends when whoever started it has. Imports nothing but its
neighbours here.
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

from conversations.documents.index.bm25 import Hit, Index
from conversations.documents.index.packed_postings import (
    Packed,
    from_bytes,
    numbers,
    packed,
    to_bytes,
)
from conversations.text.density import METHODS, density
from conversations.text.split import SIZE, split
from conversations.text.terms import terms

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from conversations.documents.index_worker "
    "import main; main()"
)
FORM = "2"  # of packed outlines: a text whose outline has another is divided anew
INLINE_CHARS = (
    4_000  # shorter texts are divided where they are: that is quicker than to start a process
)
SMALLEST = 100
LARGEST = 8_000  # characters of a passage
MEMORY_BYTES = 3 * 2**30  # of address space, for one text's division
NICENESS = 5  # answers come first
WATCH_SECONDS = 1.0  # between two looks whether anybody still waits for the program
HEADER = 8  # two counts: passages, bytes of the table


class Indivisible(Exception):
    """It took too long or too much; the message is a sentence for the text's owner."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a text is divided: into passages of at most `size` characters that repeat at most
    `overlap` of the one before, scored by `method` of density.METHODS.
    """

    size: int = SIZE
    overlap: int = 0
    method: str = "weighted"

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Splitting":
        """As OpenKimi's `processor` says, within what is reasonable; what it leaves out or has no
        sense here is the default.
        """
        given = options.get("processor")
        given = given if isinstance(given, dict) else {}
        size = min(max(whole(given.get("batch_size"), SIZE), SMALLEST), LARGEST)
        overlap = min(max(whole(given.get("overlap_size"), 0), 0), size // 2)
        method = given.get("entropy_method")
        return cls(size, overlap, method if method in METHODS else "weighted")

    def digest(self, text: str) -> str:
        """Of a text and of how it is divided: what is the same was divided before."""
        mark = hashlib.sha256(f"{FORM} {self.size} {self.overlap} {self.method}\n".encode())
        mark.update(text.encode("utf-8", "replace"))
        return mark.hexdigest()


def whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


@dataclass(frozen=True, slots=True)
class Outline:
    """A text's passages without their text: passage `n` is `text[starts[n]:ends[n]]` and says
    `scores[n]` (0..1).
    """

    starts: Sequence[int]
    ends: Sequence[int]
    scores: Sequence[float]
    index: Packed = field(repr=False)

    def __len__(self) -> int:
        return len(self.starts)

    def length(self, number: int) -> int:
        return self.ends[number] - self.starts[number]

    def densest(self) -> list[Hit]:
        """All passages: the opening, which says what the text is, then those that say most."""
        order = heapq.nsmallest(
            len(self), range(len(self)), key=lambda at: (at > 0, -self.scores[at], at)
        )
        return [Hit(at, self.scores[at]) for at in order]

    @classmethod
    def unpack(cls, data: bytes) -> "Outline":
        """What `outline` gave; its index stays in these bytes. Raises ValueError, zlib.error for
        anything else.
        """
        passages, size = from_bytes(data[:HEADER])
        end = HEADER + size
        table = zlib.decompress(data[HEADER:end])
        starts = from_bytes(table[: 4 * passages])
        ends = from_bytes(table[4 * passages : 8 * passages])
        scores = array("d")
        scores.frombytes(table[8 * passages :])
        if sys.byteorder == "big":
            scores.byteswap()
        if not len(ends) == len(scores) == passages:
            raise ValueError("the table has another length than its count says")
        return cls(starts, ends, scores, Packed(data[end:]))


@dataclass(frozen=True, slots=True)
class Divided:
    """What is stored of a text: its outline packed."""

    packed: bytes

    @property
    def spans(self) -> list[tuple[int, int, float]]:
        """(start, end, score) of each passage."""
        made = Outline.unpack(self.packed)
        return list(zip(made.starts, made.ends, made.scores, strict=True))


def outline(text: str, splitting: Splitting) -> bytes:
    """The outline of a text, packed: two counts (passages, bytes of the table), the table (zlib:
    starts, ends, scores), the index; without passages when the text says nothing.
    """
    passages = split(text, splitting.size, splitting.overlap)
    pieces = [passage.text for passage in passages]
    words = [terms(piece) for piece in pieces]
    index = Index()
    for number, found in enumerate(words):
        index.add(number, found)
    said = density(pieces, splitting.method, words, index.postings)
    scores = array("d", [round(score, 6) for score in said])
    if sys.byteorder == "big":
        scores.byteswap()
    spans = (
        numbers([passage.start for passage in passages]),
        numbers([passage.end for passage in passages]),
    )
    table = zlib.compress(b"".join(map(to_bytes, spans)) + scores.tobytes())
    return to_bytes(numbers([len(passages), len(table)])) + table + packed(index)


def divide(text: str, splitting: Splitting, seconds: float) -> Divided:
    """A text's division, by a process of its own when it is long: run it in a thread. Raises
    Indivisible, and OSError when no process can be started.
    """
    if len(text) <= INLINE_CHARS:
        return Divided(outline(text, splitting))
    limits = (
        os.getpid(),
        max(1, round(seconds)),
        splitting.size,
        splitting.overlap,
        splitting.method,
    )
    command = [sys.executable, "-I", "-B", "-c", PROGRAM, str(ROOT), *map(str, limits)]
    given = text.encode("utf-8", "replace")
    try:
        done = subprocess.run(  # noqa: S603
            command, input=given, capture_output=True, timeout=seconds, env={}, check=False
        )
    except subprocess.TimeoutExpired:
        raise Indivisible(f"Dividing it takes longer than {seconds:g} seconds.") from None
    if done.returncode:
        raise Indivisible("Dividing it takes too much time or memory.")
    return Divided(done.stdout)


def main() -> None:
    """The program: PARENT CPU_SECONDS SIZE OVERLAP METHOD; ends with another status than 0 when it
    takes too much.
    """
    parent, seconds, size, overlap, method = sys.argv[2:7]
    threading.Thread(target=watch, args=(int(parent),), daemon=True).start()
    for what, most in ((resource.RLIMIT_CPU, int(seconds)), (resource.RLIMIT_AS, MEMORY_BYTES)):
        with suppress(ValueError, OSError):  # whoever started this ends it in time
            resource.setrlimit(what, (most, most))
    os.nice(NICENESS)
    gc.disable()  # nothing of it is garbage before the end
    made = outline(sys.stdin.buffer.read().decode(), Splitting(int(size), int(overlap), method))
    sys.stdout.buffer.write(made)
    sys.stdout.buffer.flush()


def watch(parent: int) -> None:
    """End this process when the one that started it has ended, as nobody reads its answer."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
