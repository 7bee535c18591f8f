"""Scores are places within the document, and what says more stands higher."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.text.density import METHODS, rank_values, score_density
from conversations.text.terms import extract_terms

ENGLISH = [
    (
        "The bridge at Oldham was opened in 1884; its three iron arches, forged by Pell & Sons, "
        "carry 40 tons each."
    ),
    (
        "It was very nice and it was very good and it was very nice and it was very good and it "
        "was "
        "very nice."
    ),
    (
        "Rivets were heated on site, passed by tongs, and hammered flat: 12,000 of them, says the "
        "engineer's diary."
    ),
    (
        "The arches of the bridge rest on granite piers, sunk nine metres into clay; floods in "
        "1901 "
        "moved none of them."
    ),
    (
        "And so on and so on and so on and so on and so on and so on and so on and so on and so on "
        "and so on."
    ),
    (
        "In 1923 the iron deck was replaced by steel; trams crossed the bridge until 1949, lorries "
        "until 1970."
    ),
]
CHINESE = [
    "老桥建于一八八四年，三座铁拱由佩尔父子铸造；每座可承重四十吨，河水从桥下流过。",
    "很好很好很好很好很好很好很好很好很好很好很好很好很好很好很好很好很好很好很好。",
    "铆钉在工地加热，用钳子传递，再锤平：工程师日记说，一共有一万二千颗。",
    "桥拱立在花岗岩桥墩上，桥墩深入黏土九米；一九〇一年的洪水没有动摇它们。",
    "然后然后然后然后然后然后然后然后然后然后然后然后然后然后然后然后然后然后。",
    "一九二三年，铁桥面换成钢桥面；电车通行到一九四九年，货车通行到一九七〇年。",
]


@pytest.mark.parametrize("method", ["word", "ngram", "weighted"])
@pytest.mark.parametrize("passages", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_passages_that_repeat_themselves_say_least(passages, method):
    scores = score_density(passages, method)

    lowest = sorted(range(6), key=scores.__getitem__)[:2]
    assert set(lowest) == {1, 4}


@pytest.mark.parametrize("passages", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_sentences_of_different_lengths_and_punctuation_are_structure(passages):
    scores = score_density(
        [*passages, passages[0] + " " + passages[3] + "!? (" + passages[2] + ")"], "structural"
    )

    assert scores[-1] == 1.0
    assert scores[1] < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_ordinary_prose_is_divided_by_a_threshold(method):
    subjects = "bridge river market winter school garden engine letter doctor harbour".split()
    verbs = "crossed measured opened painted remembered followed carried".split()
    prose = [
        " ".join(
            f"The {subjects[(n * k + k) % 10]} {verbs[(n + k * k) % 7]} "
            f"the {subjects[(n * n + k) % 10]}{'.,;'[(n + k) % 3]}"
            for k in range(6 + n % 4)
        )
        for n in range(40)
    ]

    scores = score_density(prose, method)

    dense = [score for score in scores if score >= 0.5]
    assert 8 <= len(dense) <= 32
    assert min(scores) < 0.2
    assert max(scores) > 0.8


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=12), st.sampled_from(METHODS))
def test_any_passages_have_a_score_each_between_0_and_1(passages, method):
    scores = score_density(passages, method)

    assert len(scores) == len(passages)
    assert all(0 <= score <= 1 for score in scores)
    assert scores == score_density(
        passages, method, [extract_terms(passage) for passage in passages]
    )


@pytest.mark.parametrize("method", METHODS)
def test_equal_passages_share_the_middle(method):
    assert score_density(["The same words again."] * 5, method) == [0.5] * 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "passage", ["", "   ", "x" * 300_000, "中" * 100_000, "👩🏽‍🚀" * 10_000, "שלום עולם. " * 1000]
)
def test_a_passage_alone_is_in_the_middle_whatever_it_is(passage, method):
    assert score_density([passage], method) == [0.5]


@pytest.mark.parametrize("passages", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_saying_one_thing_often_does_not_make_it_the_subject(passages):
    scores = score_density(passages, "semantic")

    assert max(scores[1], scores[4]) < 0.5


def test_a_line_of_three_words_is_not_the_densest():
    scores = score_density([*ENGLISH, "Chapter one begins"], "word")

    assert scores[-1] < max(scores)


def test_the_subject_of_the_document_outranks_a_passage_that_shares_nothing_with_it():
    scores = score_density(
        [*ENGLISH[2:4], ENGLISH[0], ENGLISH[5], "Lorem ipsum dolor sit amet consectetur elit."],
        "semantic",
    )

    assert scores[-1] == 0.0


def test_one_word_said_often_does_not_hide_what_else_a_passage_says():
    subject = [
        "bridge arch pier deck rail",
        "arch pier deck rail lamp",
        "bridge arch pier rail road",
    ]

    scores = score_density(
        [*subject, "bridge arch pier deck rail" + " toll" * 30, "deck kettle spoon fork"],
        "semantic",
    )

    assert scores[3] > scores[4]


def test_ranks_are_places_and_equal_values_share_theirs():
    assert rank_values([5.0, 1.0, 3.0]) == [1.0, 0.0, 0.5]
    assert rank_values([1.0, 2.0, 2.0, 3.0]) == [0.0, 0.5, 0.5, 1.0]
    assert rank_values([]) == []


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="weighted"):
        score_density(["text"], "magic")
