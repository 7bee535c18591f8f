import random

import pytest

from conversations.reasoning import sampling_paths

RNG = random.Random(5)
SUN = "The sun is a star at the centre of the solar system."
SUNNY = "The sun is a star in the centre of the solar system."
MOON = "Our moon goes round the earth once a month."
CODE = "```python\nx = 1\n\ny = 2\n```"


def test_paragraphs_end_at_blank_lines_but_not_within_code():
    assert sampling_paths.split_paragraphs(f"One.\n\n\nTwo\nlines.\n\n{CODE}\n\nEnd.") == [
        "One.",
        "Two\nlines.",
        CODE,
        "End.",
    ]
    assert sampling_paths.split_paragraphs("") == []


def test_entropy_is_that_of_the_terms():
    assert sampling_paths.measure_entropy("") == sampling_paths.measure_entropy("a a a a") == 0
    assert sampling_paths.measure_entropy("a b c d") == 2


@pytest.mark.parametrize(
    "text",
    ["word " * 3_000, "字" * 9_000, "一句话。" * 3_000, "x" * 10_000, "\n\n".join([SUN] * 99)],
)
def test_passages_are_bounded_and_nothing_is_lost(text):
    found = sampling_paths.list_passages(text)
    assert len(found) > 2
    assert max(map(len, found)) <= sampling_paths.PASSAGE_CHARS
    assert sum(block.count(text[0]) for block in found) == text.count(text[0])


def test_sampling_relevance_goes_by_the_question():
    chosen = sampling_paths.sample_passages(
        "relevance", [SUN, MOON, CODE], "How long does the moon take round the earth?", 1, RNG
    )
    assert chosen == [MOON]


def test_sampling_entropy_takes_what_says_most():
    assert sampling_paths.sample_passages("entropy", ["la la la la", SUN], "", 1, RNG) == [SUN]


def test_sampling_diversity_does_not_take_the_same_twice():
    for seed in range(20):
        chosen = sampling_paths.sample_passages(
            "diversity", [SUN, SUNNY, MOON], "", 2, random.Random(seed)
        )
        assert MOON in chosen


def test_sampling_random_takes_different_ones_and_begins_again_when_there_are_too_few():
    assert sorted(sampling_paths.sample_passages("random", ["a", "b", "c"], "", 3, RNG)) == [
        "a",
        "b",
        "c",
    ]
    for strategy in ("random", "entropy", "relevance", "diversity"):
        assert len(sampling_paths.sample_passages(strategy, ["a", "b"], "q", 5, RNG)) == 5
        assert sampling_paths.sample_passages(strategy, [], "q", 5, RNG) == []


@pytest.mark.parametrize("strategy", sorted(sampling_paths.MERGERS))
def test_every_synthesis_keeps_what_all_agree_on_and_a_single_text_as_it_is(strategy):
    assert sampling_paths.merge_texts(strategy, [" One.\n\nTwo. ", ""]) == "One.\n\nTwo."
    assert sampling_paths.merge_texts(strategy, []) == ""
    merged = sampling_paths.merge_texts(strategy, [SUN, SUN, SUN])
    assert merged.count(SUN) == 1
    assert all(SUN in sampling_paths.merge_texts(strategy, [SUN, SUN, MOON]) for _ in range(3))


def test_texts_are_alike_whatever_the_form_of_their_words():
    plain = "The study names a method."
    assert sampling_paths.merge_texts("consensus", [plain, "The studies name methods."]) == plain


def test_weighted_does_not_end_a_sentence_at_a_title():
    text = "Dr. Jones keeps the lamp. She is never late."
    assert sampling_paths.merge_texts("weighted", [text, text, "No."]) == text


def test_majority_takes_the_paragraph_that_others_agree_with():
    merged = sampling_paths.merge_texts(
        "majority", [f"{MOON}\n\n{SUN}", f"{SUN}\n\n{MOON}", f"{SUNNY}\n\n{MOON}"]
    )
    assert merged.split("\n\n")[1] == MOON
    assert merged.split("\n\n")[0] in (SUN, SUNNY)


def test_majority_does_not_go_on_where_most_have_ended():
    assert sampling_paths.merge_texts("majority", [SUN, SUN, f"{SUN}\n\n{MOON}"]) == SUN


def test_weighted_takes_sentences_of_the_texts_that_others_agree_with():
    merged = sampling_paths.merge_texts(
        "weighted", [f"{SUN} {MOON}", f"{SUNNY} {MOON}", "No idea. Ask another."]
    )
    assert merged.endswith(MOON)
    assert "idea" not in merged
    assert (
        sampling_paths.merge_texts("weighted", ["天是蓝的。草是绿的。", "天是蓝的。草是绿的。"])
        == "天是蓝的。草是绿的。"
    )


def test_hierarchical_divides_paragraphs_and_not_characters():
    texts = [
        f"{SUN}\n\nMiddle one.\n\nDo this.",
        f"{SUNNY}\n\nAnother middle thing here.\n\nTry something else.",
    ]
    merged = sampling_paths.merge_texts("hierarchical", texts)
    assert merged == (
        f"## Overview\n\n{SUN}\n\n## Details\n\nMiddle one.\n\nAnother middle thing here.\n\n"
        "## Recommendations\n\nDo this.\n\nTry something else."
    )


def test_consensus_says_each_thing_once_and_first_what_several_say():
    merged = sampling_paths.merge_texts("consensus", [f"{MOON}\n\n{SUN}", f"{SUNNY}\n\n{CODE}"])
    assert merged == f"{SUN}\n\n{MOON}\n\n{CODE}"


def test_code_is_never_divided():
    for strategy in sorted(sampling_paths.MERGERS):
        assert CODE in sampling_paths.merge_texts(
            strategy, [f"{SUN}\n\n{CODE}", f"{SUN}\n\n{CODE}"]
        )
