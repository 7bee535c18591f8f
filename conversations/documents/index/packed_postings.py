"""An index as bytes that is searched without unpacking all of it.

A question unpacks only the few blocks with its terms. `pack_index` makes the bytes of an
`MemoryIndex` whose keys are 0.. in order, as the passages of one text have them; `PackedIndex`
searches the bytes. A text of a million different words becomes some megabytes, in memory as on
disk, which take no work to open.

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

from conversations.documents.index.bm25 import Key, MemoryIndex, PassageIndex

TERMS_PER_BLOCK = 512  # in a block
HEADER_BYTES = 8
COMPRESSION_LEVEL = 1  # zlib's level
Posting = tuple[str, list[int]]


def pack_index(index: MemoryIndex) -> bytes:
    """Return an index as bytes. Raises ValueError when its keys are not 0.. in order."""
    if index.keys() != list(range(len(index))):
        raise ValueError("the keys of a packed index are 0.. in order")
    ordered = sort_postings(index.postings)
    firsts = []
    blocks = []
    while some := list(islice(ordered, TERMS_PER_BLOCK)):
        firsts.append(some[0][0])
        blocks.append(pack_block(some))
    ends = uint32_array(accumulate(map(len, blocks)))
    names = orjson.dumps(firsts)
    table = zlib.compress(
        numbers_to_bytes(uint32_array([len(index)]))
        + numbers_to_bytes(uint32_array(index.lengths))
        + numbers_to_bytes(ends)
        + names
    )
    return b"".join((numbers_to_bytes(uint32_array([len(blocks), len(table)])), table, *blocks))


def sort_postings(postings: Mapping[str, list[int]]) -> Iterator[Posting]:
    """Return the terms with their slots, in the order of the terms.

    They are sorted in groups by first character, which is much faster for millions of terms.
    """
    groups: dict[str, list[Posting]] = defaultdict(list)
    for item in postings.items():
        groups[item[0][:1]].append(item)
    return chain.from_iterable(sorted(groups[first], key=itemgetter(0)) for first in sorted(groups))


def pack_block(items: Sequence[Posting]) -> bytes:
    names = "\n".join([word for word, _ in items]).encode()
    counts = uint32_array([len(said) for _, said in items])
    slots = uint32_array(chain.from_iterable(said for _, said in items))
    return zlib.compress(
        numbers_to_bytes(uint32_array([len(names)]))
        + names
        + numbers_to_bytes(counts)
        + numbers_to_bytes(slots),
        COMPRESSION_LEVEL,
    )


class PackedIndex(PassageIndex):
    """An index over its bytes.

    Raises ValueError, zlib.error for bytes that `pack_index` did not make.
    """

    def __init__(self, data: bytes) -> None:
        blocks, size = numbers_from_bytes(data[:HEADER_BYTES])
        self._blocks = memoryview(data)[HEADER_BYTES + size :]
        table = zlib.decompress(data[HEADER_BYTES : HEADER_BYTES + size])
        (passages,) = numbers_from_bytes(table[:4])
        middle = 4 + 4 * passages
        end = 4 + 4 * (passages + blocks)
        self.lengths = numbers_from_bytes(table[4:middle])
        self._block_ends = numbers_from_bytes(table[middle:end])
        self._first_terms: list[str] = orjson.loads(table[end:])

    def keys(self) -> Sequence[Key]:
        return range(len(self))

    def find_slots(self, words: Iterable[str]) -> dict[str, Sequence[int]]:
        wanted: dict[int, list[str]] = {}
        asked = list(words)
        for word in asked:
            if (number := bisect_right(self._first_terms, word) - 1) >= 0:
                wanted.setdefault(number, []).append(word)
        found = {
            word: slots
            for number, some in wanted.items()
            for word, slots in self._read_block(number, some)
        }
        return {word: found[word] for word in asked if word in found}

    def _read_block(self, number: int, words: Iterable[str]) -> Iterable[tuple[str, Sequence[int]]]:
        """Yield those of the words that are in this block, with their slots."""
        start = self._block_ends[number - 1] if number else 0
        raw = memoryview(zlib.decompress(self._blocks[start : self._block_ends[number]]))
        (size,) = numbers_from_bytes(raw[:4])
        names = str(raw[4 : 4 + size], "utf-8").split("\n")
        first = 4 + size + 4 * len(names)
        places = {name: place for place, name in enumerate(names)}
        ends = list(accumulate(numbers_from_bytes(raw[4 + size : first])))
        for word in words:
            if (place := places.get(word)) is not None:
                before = ends[place - 1] if place else 0
                yield word, numbers_from_bytes(raw[first + 4 * before : first + 4 * ends[place]])


def uint32_array(values: Iterable[int]) -> "array[int]":
    return array("I", values)


def numbers_to_bytes(values: "array[int]") -> bytes:
    return little_endian_numbers(values).tobytes()


def numbers_from_bytes(data: bytes | memoryview) -> "array[int]":
    found = uint32_array(())
    found.frombytes(data)
    return little_endian_numbers(found)


def little_endian_numbers(values: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        values.byteswap()
    return values
