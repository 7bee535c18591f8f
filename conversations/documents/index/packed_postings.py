"""An index as bytes that is searched without unpacking all of it.

A question unpacks only the few blocks with its terms. `packed` makes the bytes of an `Index` whose
keys are 0.. in order, as the passages of one text have them; `Packed` searches the bytes. A text of
a million different words becomes some megabytes, in memory as on disk, which take no work to open.

The form: two counts (blocks, bytes of the table), the table (zlib: lengths of the passages, ends of
the blocks, JSON of each block's first term), the blocks. A block (zlib) holds some terms in order:
the length of their bytes, the terms in lines, the number of occurrences of each, and the slots of
all. Numbers are unsigned, of 4 bytes, little endian.
"""

import sys
import zlib
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from operator import itemgetter

import orjson

from conversations.documents.index.bm25 import Index, Key, Searchable

TERMS = 512  # in a block
HEADER = 8
FAST = 1  # zlib's level
Posting = tuple[str, list[int]]


def packed(index: Index) -> bytes:
    """Return an index as bytes. Raises ValueError when its keys are not 0.. in order."""
    if index.keys() != list(range(len(index))):
        raise ValueError("the keys of a packed index are 0.. in order")
    ordered = in_order(index.postings)
    firsts = []
    blocks = []
    while some := list(islice(ordered, TERMS)):
        firsts.append(some[0][0])
        blocks.append(block(some))
    ends = numbers(accumulate(map(len, blocks)))
    names = orjson.dumps(firsts)
    table = zlib.compress(
        to_bytes(numbers([len(index)])) + to_bytes(numbers(index.lengths)) + to_bytes(ends) + names
    )
    return b"".join((to_bytes(numbers([len(blocks), len(table)])), table, *blocks))


def in_order(postings: Mapping[str, list[int]]) -> Iterator[Posting]:
    """Return the terms with their slots, in the order of the terms.

    They are sorted in groups by first character, which is much faster for millions of terms.
    """
    groups: dict[str, list[Posting]] = defaultdict(list)
    for item in postings.items():
        groups[item[0][:1]].append(item)
    return chain.from_iterable(sorted(groups[first], key=itemgetter(0)) for first in sorted(groups))


def block(items: Sequence[Posting]) -> bytes:
    names = "\n".join([word for word, _ in items]).encode()
    counts = numbers([len(said) for _, said in items])
    slots = numbers(chain.from_iterable(said for _, said in items))
    return zlib.compress(
        to_bytes(numbers([len(names)])) + names + to_bytes(counts) + to_bytes(slots), FAST
    )


class Packed(Searchable):
    """An index over its bytes.

    Raises ValueError, zlib.error for bytes that `packed` did not make.
    """

    def __init__(self, data: bytes) -> None:
        blocks, size = from_bytes(data[:HEADER])
        self._data = memoryview(data)[HEADER + size :]
        table = zlib.decompress(data[HEADER : HEADER + size])
        (passages,) = from_bytes(table[:4])
        middle = 4 + 4 * passages
        end = 4 + 4 * (passages + blocks)
        self.lengths = from_bytes(table[4:middle])
        self._ends = from_bytes(table[middle:end])
        self._firsts: list[str] = orjson.loads(table[end:])

    def keys(self) -> Sequence[Key]:
        return range(len(self))

    def found(self, words: Iterable[str]) -> dict[str, Sequence[int]]:
        wanted: dict[int, list[str]] = {}
        asked = list(words)
        for word in asked:
            if (number := bisect_right(self._firsts, word) - 1) >= 0:
                wanted.setdefault(number, []).append(word)
        found = {
            word: slots
            for number, some in wanted.items()
            for word, slots in self._block(number, some)
        }
        return {word: found[word] for word in asked if word in found}

    def _block(self, number: int, words: Iterable[str]) -> Iterable[tuple[str, Sequence[int]]]:
        """Yield those of the words that are in this block, with their slots."""
        start = self._ends[number - 1] if number else 0
        raw = memoryview(zlib.decompress(self._data[start : self._ends[number]]))
        (size,) = from_bytes(raw[:4])
        names = str(raw[4 : 4 + size], "utf-8").split("\n")
        first = 4 + size + 4 * len(names)
        places = {name: place for place, name in enumerate(names)}
        ends = list(accumulate(from_bytes(raw[4 + size : first])))
        for word in words:
            if (place := places.get(word)) is not None:
                before = ends[place - 1] if place else 0
                yield word, from_bytes(raw[first + 4 * before : first + 4 * ends[place]])


def numbers(given: Iterable[int]) -> "array[int]":
    return array("I", given)


def to_bytes(given: "array[int]") -> bytes:
    return little(given).tobytes()


def from_bytes(data: bytes | memoryview) -> "array[int]":
    found = numbers(())
    found.frombytes(data)
    return little(found)


def little(given: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        given.byteswap()
    return given
