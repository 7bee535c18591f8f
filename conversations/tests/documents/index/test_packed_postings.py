"""An index in bytes answers as the one it was made of, and unpacks no more than a question
needs.
"""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.documents.index import packed_postings
from conversations.documents.index.bm25 import MemoryIndex
from conversations.documents.index.packed_postings import TERMS_PER_BLOCK, PackedIndex, pack_index

WORDS = st.lists(
    st.sampled_from("ant bee cow dog élan 中国 国人 हिन्दी zebra 𠀀𠀁".split()), max_size=12
)


def index_of(passages):
    index = MemoryIndex()
    for number, words in enumerate(passages):
        index.add_passage(number, words)
    return index


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=8), WORDS, st.integers(1, 5))
def test_an_index_answers_from_its_bytes_as_it_did(passages, question, size):
    index = index_of(passages)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packed_postings, "TERMS_PER_BLOCK", size)
        again = PackedIndex(pack_index(index))

    assert len(again) == len(index) == len(passages)
    assert list(again.lengths) == index.lengths
    asked = ["aardvark", *question, "中", "zzz", ""]
    found = {word: list(slots) for word, slots in again.find_slots(asked).items()}
    assert found == index.find_slots(asked)
    assert again.search_passages(" ".join(question)) == index.search_passages(" ".join(question))


def test_a_question_unpacks_the_blocks_of_its_words_once(monkeypatch):
    again = PackedIndex(
        pack_index(index_of([f"word{n:06}", "common"] for n in range(20 * TERMS_PER_BLOCK)))
    )
    sizes = []

    def noted(data):
        sizes.append(len(data))
        return decompress(data)

    decompress = zlib.decompress
    monkeypatch.setattr(packed_postings.zlib, "decompress", noted)
    [hit] = again.search_passages("word000777 word000778 word000777x", 5)[:1]
    assert hit.key == 777
    assert len(sizes) == 1


def test_only_the_index_of_one_text_is_packed():
    index = MemoryIndex()
    index.add_passage("a", ["word"])
    with pytest.raises(ValueError, match="in order"):
        pack_index(index)


def test_bytes_that_are_no_index_are_refused():
    with pytest.raises((ValueError, zlib.error)):
        PackedIndex(b"nonsense, and some more of it")
