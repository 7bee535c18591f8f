"""Embeddings as bytes (float32, little endian), and which of many are nearest to one. numpy where
there is one.
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

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the other cores are for answers
try:
    numpy: Any = import_module("numpy")
except ImportError:
    numpy = None


def pack(vector: Sequence[float]) -> bytes:
    """A vector of length 1 in the direction of this one; a null vector stays one."""
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
    """Embeddings of passages 0.., all of one length but for those that have none."""

    rows: Any

    @classmethod
    def of(cls, packed: Sequence[bytes]) -> "Matrix":
        width = max(map(len, packed), default=0)
        same = [one if len(one) == width else bytes(width) for one in packed]
        if numpy is None:
            return cls([unpack(one) for one in same])
        return cls(numpy.frombuffer(b"".join(same), dtype="<f4").reshape(len(same), width // 4))

    def nearest(self, vector: Sequence[float], limit: int) -> list[Hit]:
        """At most `limit` of them with a positive cosine to `vector`, nearest first; none when it
        is of another length, as another model makes them.
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
