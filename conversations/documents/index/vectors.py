"""Embeddings as bytes (float32, little endian), and a search for the nearest ones.

Uses numpy if it is installed.
"""

import heapq
import os
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from math import sqrt
from operator import mul
from typing import Any

from conversations.documents.index.bm25 import Hit

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # leave the other cores to answers
try:
    numpy: Any = import_module("numpy")
except ImportError:
    numpy = None


def pack(vector: Sequence[float]) -> bytes:
    """Return the vector scaled to length 1, as bytes; a null vector stays null."""
    length = sqrt(sum(map(mul, vector, vector))) or 1.0
    return little(array("f", [number / length for number in vector])).tobytes()


def unpack(packed: bytes) -> Sequence[float]:
    found = array("f")
    found.frombytes(packed)
    return little(found)


def little(numbers: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


@dataclass(frozen=True, slots=True)
class Matrix:
    """Embeddings of the passages 0.., all of one length; missing ones are null vectors."""

    rows: Any

    @classmethod
    def of(cls, packed: Sequence[bytes]) -> "Matrix":
        width = max(map(len, packed), default=0)
        same = [one if len(one) == width else bytes(width) for one in packed]
        if numpy is None:
            return cls([unpack(one) for one in same])
        return cls(numpy.frombuffer(b"".join(same), dtype="<f4").reshape(len(same), width // 4))

    def nearest(self, vector: Sequence[float], limit: int) -> list[Hit]:
        """Return at most `limit` passages with a positive cosine to `vector`, nearest first.

        None of them when the vector has another length, as vectors of another model have.
        """
        if not len(self.rows) or len(self.rows[0]) != len(vector):
            return []
        wanted = unpack(pack(vector))
        if numpy is None:
            scores = [sum(map(mul, row, wanted)) for row in self.rows]
        else:
            scores = (self.rows @ numpy.asarray(wanted, dtype="f4")).tolist()
        best = heapq.nlargest(limit, range(len(scores)), key=lambda at: (scores[at], -at))
        return [Hit(at, scores[at]) for at in best if scores[at] > 0]
