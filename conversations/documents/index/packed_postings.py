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

TERMS_PER_BLOCK = 512
HEADER_BYTES = 8
COMPRESSION_LEVEL = 1  # zlib's level
Posting = tuple[str, list[int]]


def pack_index(index: MemoryIndex) -> bytes:
    """Return an index as bytes. Raises ValueError when its keys are not 0.. in order."""
    if index.keys() != list(range(len(index))):
        raise ValueError("the keys of a packed index are 0.. in order")
    ordered = sort_postings(index.postings)
    first_terms = []
    blocks = []
    while postings := list(islice(ordered, TERMS_PER_BLOCK)):
        first_terms.append(postings[0][0])
        blocks.append(pack_block(postings))
    block_ends = uint32_array(accumulate(map(len, blocks)))
    table = zlib.compress(
        numbers_to_bytes(uint32_array([len(index)]))
        + numbers_to_bytes(uint32_array(index.lengths))
        + numbers_to_bytes(block_ends)
        + orjson.dumps(first_terms)
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


def pack_block(postings: Sequence[Posting]) -> bytes:
    """Return some terms with their slots as bytes; the module's text describes the form."""
    terms = "\n".join([term for term, _ in postings]).encode()
    counts = uint32_array([len(slots) for _, slots in postings])
    all_slots = uint32_array(chain.from_iterable(slots for _, slots in postings))
    return zlib.compress(
        numbers_to_bytes(uint32_array([len(terms)]))
        + terms
        + numbers_to_bytes(counts)
        + numbers_to_bytes(all_slots),
        COMPRESSION_LEVEL,
    )


class PackedIndex(PassageIndex):
    """An index over its bytes.

    Raises ValueError, zlib.error for bytes that `pack_index` did not make.
    """

    def __init__(self, data: bytes) -> None:
        block_count, table_bytes = numbers_from_bytes(data[:HEADER_BYTES])
        table_end = HEADER_BYTES + table_bytes
        self._blocks = memoryview(data)[table_end:]
        table = zlib.decompress(data[HEADER_BYTES:table_end])
        (passage_count,) = numbers_from_bytes(table[:4])
        lengths_end = 4 + 4 * passage_count
        block_ends_end = lengths_end + 4 * block_count
        self.lengths = numbers_from_bytes(table[4:lengths_end])
        self._block_ends = numbers_from_bytes(table[lengths_end:block_ends_end])
        self._first_terms: list[str] = orjson.loads(table[block_ends_end:])

    def keys(self) -> Sequence[Key]:
        return range(len(self))

    def find_slots(self, words: Iterable[str]) -> dict[str, Sequence[int]]:
        words = list(words)
        words_by_block: dict[int, list[str]] = {}
        for word in words:
            block = bisect_right(self._first_terms, word) - 1
            if block >= 0:
                words_by_block.setdefault(block, []).append(word)
        slots_by_word: dict[str, Sequence[int]] = {}
        for block, block_words in words_by_block.items():
            slots_by_word.update(self._read_block(block, block_words))
        return {word: slots_by_word[word] for word in words if word in slots_by_word}

    def _read_block(self, number: int, words: Iterable[str]) -> Iterable[tuple[str, Sequence[int]]]:
        """Yield those of the words that are in this block, with their slots."""
        start = self._block_ends[number - 1] if number else 0
        block = memoryview(zlib.decompress(self._blocks[start : self._block_ends[number]]))
        (terms_bytes,) = numbers_from_bytes(block[:4])
        terms_end = 4 + terms_bytes
        terms = str(block[4:terms_end], "utf-8").split("\n")
        counts_end = terms_end + 4 * len(terms)
        # term `n` has the slots borders[n] .. borders[n + 1]
        borders = [0, *accumulate(numbers_from_bytes(block[terms_end:counts_end]))]
        position_by_term = {term: position for position, term in enumerate(terms)}
        for word in words:
            position = position_by_term.get(word)
            if position is not None:
                first = counts_end + 4 * borders[position]
                last = counts_end + 4 * borders[position + 1]
                yield word, numbers_from_bytes(block[first:last])


def uint32_array(values: Iterable[int]) -> "array[int]":
    return array("I", values)


def numbers_to_bytes(values: "array[int]") -> bytes:
    return little_endian_numbers(values).tobytes()


def numbers_from_bytes(data: bytes | memoryview) -> "array[int]":
    numbers = uint32_array(())
    numbers.frombytes(data)
    return little_endian_numbers(numbers)


def little_endian_numbers(values: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        values.byteswap()
    return values
