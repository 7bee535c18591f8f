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

from conversations.documents.index.bm25 import PassageHit

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # leave the other cores to answers
try:
    numpy: Any = import_module("numpy")
except ImportError:
    numpy = None


def pack_vector(vector: Sequence[float]) -> bytes:
    """Return the vector scaled to length 1, as bytes; a null vector stays null."""
    length = sqrt(sum(map(mul, vector, vector))) or 1.0
    return little_endian_floats(array("f", [number / length for number in vector])).tobytes()


def unpack_vector(packed: bytes) -> Sequence[float]:
    numbers = array("f")
    numbers.frombytes(packed)
    return little_endian_floats(numbers)


def little_endian_floats(numbers: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


@dataclass(frozen=True, slots=True)
class VectorMatrix:
    """Embeddings of the passages 0.., all of one length; missing ones are null vectors."""

    rows: Any

    @classmethod
    def from_packed(cls, packed: Sequence[bytes]) -> "VectorMatrix":
        """Return the matrix of packed vectors; those of another length count as missing."""
        row_bytes = max(map(len, packed), default=0)
        rows = [row if len(row) == row_bytes else bytes(row_bytes) for row in packed]
        if numpy is None:
            return cls([unpack_vector(row) for row in rows])
        return cls(numpy.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), row_bytes // 4))

    def find_nearest(self, vector: Sequence[float], limit: int) -> list[PassageHit]:
        """Return at most `limit` passages with a positive cosine to `vector`, nearest first.

        None of them when the vector has another length, as vectors of another model have.
        """
        if not len(self.rows) or len(self.rows[0]) != len(vector):
            return []
        wanted = unpack_vector(pack_vector(vector))
        if numpy is None:
            scores = [sum(map(mul, row, wanted)) for row in self.rows]
        else:
            scores = (self.rows @ numpy.asarray(wanted, dtype="f4")).tolist()
        best = heapq.nlargest(
            limit, range(len(scores)), key=lambda number: (scores[number], -number)
        )
        return [PassageHit(number, scores[number]) for number in best if scores[number] > 0]
