import random

import pytest

from conversations.strategies.multipath.passage_sampling import (
    PASSAGE_CHARS,
    list_passages,
    measure_entropy,
    sample_passages,
)

RNG = random.Random(5)
SUN = "The sun is a star at the centre of the solar system."
SUNNY = "The sun is a star in the centre of the solar system."
MOON = "Our moon goes round the earth once a month."
CODE = "```python\nx = 1\n\ny = 2\n```"


def test_entropy_is_that_of_the_terms():
    assert measure_entropy("") == measure_entropy("a a a a") == 0
    assert measure_entropy("a b c d") == 2


@pytest.mark.parametrize(
    "text",
    ["word " * 3_000, "字" * 9_000, "一句话。" * 3_000, "x" * 10_000, "\n\n".join([SUN] * 99)],
)
def test_passages_are_bounded_and_nothing_is_lost(text):
    passages = list_passages(text)
    assert len(passages) > 2
    assert max(map(len, passages)) <= PASSAGE_CHARS
    assert sum(passage.count(text[0]) for passage in passages) == text.count(text[0])


def test_sampling_relevance_goes_by_the_question():
    chosen = sample_passages(
        "relevance", [SUN, MOON, CODE], "How long does the moon take round the earth?", 1, RNG
    )
    assert chosen == [MOON]


def test_sampling_entropy_takes_what_says_most():
    assert sample_passages("entropy", ["la la la la", SUN], "", 1, RNG) == [SUN]


def test_sampling_diversity_does_not_take_the_same_twice():
    for seed in range(20):
        chosen = sample_passages("diversity", [SUN, SUNNY, MOON], "", 2, random.Random(seed))
        assert MOON in chosen


def test_sampling_random_takes_different_ones_and_begins_again_when_there_are_too_few():
    assert sorted(sample_passages("random", ["a", "b", "c"], "", 3, RNG)) == [
        "a",
        "b",
        "c",
    ]
    for method in ("random", "entropy", "relevance", "diversity"):
        assert len(sample_passages(method, ["a", "b"], "q", 5, RNG)) == 5
        assert sample_passages(method, [], "q", 5, RNG) == []
