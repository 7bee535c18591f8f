"""A question finds the passage that answers it, in any script; rankings become one."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import subprocess
import sys
import unicodedata
from itertools import chain

import pytest

from conversations.documents.index import bm25
from conversations.documents.index.bm25 import (
    QUESTION_CHARS,
    MemoryIndex,
    PassageHit,
    fuse_rankings,
    select_within_budget,
)
from conversations.text.split import split_passages
from conversations.text.terms import ACCENTS_AT_MOST, TOO_MANY_ACCENTS, extract_terms

PASSAGES = {
    "bridge": "The iron bridge at Oldham was opened in 1884 by the mayor.",
    "ferry": "Before that a ferry carried people and cattle over the river.",
    "cafe": "Studies of the river were made in the Café Müller by two engineers.",
    "桥": "老铁桥于一八八四年由市长宣布通车。",
    "渡船": "在那之前，渡船载着人和牛过河。",
    "ไทย": "สะพานเหล็กเปิดในปีนั้น",
    "قديم": "افتتح الجسر القديم في ذلك العام.",
}


def index_of(passages):
    index = MemoryIndex()
    for key, text in passages.items():
        index.add_passage(key, extract_terms(text))
    return index


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("When was the bridge opened?", "bridge"),
        ("Which ferries carried cattle?", "ferry"),
        ("a study by an engineer in cafe muller", "cafe"),
        ("CAFE\u0301", "cafe"),
        ("muller", "cafe"),
        ("ＯＬＤＨＡＭ", "bridge"),
        ("谁宣布铁桥通车？", "桥"),
        ("渡船载着什么过河", "渡船"),
        ("สะพาน", "ไทย"),
        ("الجسر", "قديم"),
    ],
)
def test_a_question_finds_its_passage_first(question, key):
    assert index_of(PASSAGES).search_passages(question)[0].key == key


def test_the_answer_is_found_within_a_tenth_of_a_long_text():
    towns = [
        "Arden",
        "Bexley",
        "Corby",
        "Dunmore",
        "Elstow",
        "Farley",
        "Girton",
        "Hexham",
        "Ilkley",
        "Jarrow",
    ]
    trades = "baker cooper weaver miller tanner".split()
    text = "\n\n".join(
        (
            f"In {town} the {trade} keeps his shop open late. The street is quiet in winter. His "
            f"number is {n}{k}."
        )
        for n, town in enumerate(towns)
        for k, trade in enumerate(trades)
    )
    passages = split_passages(text, 130)
    index = MemoryIndex()
    for at, passage in enumerate(passages):
        index.add_passage(at, extract_terms(passage.text))
    lengths = {at: len(passage.text) for at, passage in enumerate(passages)}

    for n, town in enumerate(towns):
        for k, trade in enumerate(trades):
            hits = select_within_budget(
                index.search_passages(f"What is the number of the {trade} in {town}?", 50),
                lengths,
                len(text) // 10,
            )
            assert sum(lengths[hit.key] for hit in hits) <= len(text) // 10
            assert any(
                f"the {trade} keeps" in passages[hit.key].text and town in passages[hit.key].text
                for hit in hits
            )
            assert any(f"is {n}{k}." in passages[hit.key].text for hit in hits)


def test_a_rare_word_weighs_more_than_a_common_one():
    index = index_of(
        {1: "river river river stone", 2: "river heron", 3: "river sand", 4: "river mud"}
    )

    assert index.search_passages("heron river")[0].key == 2


def test_what_shares_no_word_is_not_found():
    assert index_of(PASSAGES).search_passages("zebra 斑马") == []
    assert index_of(PASSAGES).search_passages("!? 。") == []
    assert MemoryIndex().search_passages("anything") == []


def test_no_more_than_asked_for_come_best_first_and_equals_in_order():
    hits = index_of(dict.fromkeys(range(9), "same words")).search_passages("words", 4)

    assert [hit.key for hit in hits] == [0, 1, 2, 3]
    scores = [hit.score for hit in index_of(PASSAGES).search_passages("the river ferry bridge", 10)]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


def test_a_question_as_long_as_a_book_is_answered_by_its_rare_words():
    index = index_of({**dict.fromkeys(range(300), "common words"), "x": "heliotrope"})

    assert index.search_passages("common words " * 50_000 + "heliotrope", 1)[0].key == "x"


def test_of_a_very_long_question_the_beginning_and_the_end_are_asked():
    index = index_of({"first": "heliotrope", "middle": "chrysolite", "last": "aquamarine"})
    filler = "what? " * QUESTION_CHARS

    hits = index.search_passages(f"heliotrope {filler} chrysolite {filler} aquamarine")

    assert {hit.key for hit in hits} == {"first", "last"}


def test_of_common_words_no_more_are_counted_than_is_reasonable(monkeypatch):
    index = index_of({**dict.fromkeys(range(100), "common words everywhere"), "x": "rare words"})
    monkeypatch.setattr(bm25, "MOST_POSTINGS", 150)

    assert [
        len(slots) for slots, _ in index._find_question_slots("common rare words everywhere")
    ] == [1, 100]
    assert index.search_passages("common", 1)
    monkeypatch.setattr(bm25, "MOST_POSTINGS", 10)
    assert index.search_passages("common", 1)


def test_a_passage_is_in_an_index_once():
    index = index_of({"a": "one", "b": "two"})

    with pytest.raises(ValueError, match="already"):
        index.add_passage("a", ["again"])
    assert index.search_passages("again") == []
    assert len(index) == 2


def test_rankings_are_fused_by_place_whatever_their_scores():
    assert [hit.key for hit in fuse_rankings([["a", "b", "c"], ["b", "c", "d"], ["b"]])] == [
        "b",
        "c",
        "a",
        "d",
    ]
    assert fuse_rankings([["a"], ["a", "a"]]) == [PassageHit("a", 2 / 61)]
    assert [hit.key for hit in fuse_rankings([["a", "b"], ["c"]], 2)] == ["a", "c"]
    assert fuse_rankings([]) == []


def test_hits_are_taken_while_they_fit():
    hits = [PassageHit("a", 3.0), PassageHit("b", 2.0), PassageHit("c", 1.0)]

    assert select_within_budget(hits, {"a": 60, "b": 50, "c": 40}, 100) == [hits[0], hits[2]]
    assert select_within_budget(hits, {"a": 60, "b": 50, "c": 40}, 10) == []


def test_terms_are_words_and_pairs_of_unspaced_characters():
    assert extract_terms("The Cities’ books, 2024!") == ["the", "city", "book", "2024"]
    assert extract_terms("中国人 用 GPT写诗") == ["gpt", "中国", "国人", "用", "写诗"]
    assert extract_terms("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert extract_terms("") == extract_terms(" \n👩🏽‍🚀。…") == []


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\uff9e\u0316\u0301", "\u0344\u0316"])
def test_a_run_of_accents_takes_no_longer_than_another_text(marks):
    code = (
        "from conversations.text.terms import extract_terms; "
        f"extract_terms('a' + {marks!r} * 200_000)"
    )
    subprocess.run(
        [sys.executable, "-c", code], timeout=30, check=True
    )  # the square of it would take minutes


def test_what_is_an_accent_once_normalised_counts_as_one_before():
    accents = [
        char
        for char in map(chr, chain(range(0xD800), range(0xE000, 0x110000)))
        if unicodedata.combining(unicodedata.normalize("NFKD", char)[0])
    ]
    assert len(accents) > 800
    assert all(TOO_MANY_ACCENTS.fullmatch(char * (ACCENTS_AT_MOST + 1)) for char in accents)


def test_an_english_plural_is_the_same_term_as_its_singular():
    for one, many in [
        ("city", "cities"),
        ("class", "classes"),
        ("box", "boxes"),
        ("church", "churches"),
        ("dog", "dogs"),
    ]:
        assert extract_terms(one) == extract_terms(many)
    for word in ("this", "virus", "glass", "as", "gas"):
        assert extract_terms(word) == [word]


@pytest.mark.parametrize("unit", ["x", "中", "a ", "👩🏽‍🚀", "\u0301"])
def test_a_megabyte_of_anything_has_no_more_terms_than_characters(unit):
    found = extract_terms(unit * (1_000_000 // len(unit.encode())))

    assert len(found) <= 1_000_000 // len(unit.encode()) + 1
    assert all(len(term) <= 64 for term in found)
