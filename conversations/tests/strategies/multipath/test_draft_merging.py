import pytest

from conversations.strategies.multipath.draft_merging import (
    MERGERS,
    merge_texts,
    split_paragraphs,
)

SUN = "The sun is a star at the centre of the solar system."
SUNNY = "The sun is a star in the centre of the solar system."
MOON = "Our moon goes round the earth once a month."
CODE = "```python\nx = 1\n\ny = 2\n```"


def test_paragraphs_end_at_blank_lines_but_not_within_code():
    assert split_paragraphs(f"One.\n\n\nTwo\nlines.\n\n{CODE}\n\nEnd.") == [
        "One.",
        "Two\nlines.",
        CODE,
        "End.",
    ]
    assert split_paragraphs("") == []


@pytest.mark.parametrize("method", sorted(MERGERS))
def test_every_synthesis_keeps_what_all_agree_on_and_a_single_text_as_it_is(method):
    assert merge_texts(method, [" One.\n\nTwo. ", ""]) == "One.\n\nTwo."
    assert merge_texts(method, []) == ""
    merged = merge_texts(method, [SUN, SUN, SUN])
    assert merged.count(SUN) == 1
    assert all(SUN in merge_texts(method, [SUN, SUN, MOON]) for _ in range(3))


def test_texts_are_alike_whatever_the_form_of_their_words():
    plain = "The study names a method."
    assert merge_texts("consensus", [plain, "The studies name methods."]) == plain


def test_weighted_does_not_end_a_sentence_at_a_title():
    text = "Dr. Jones keeps the lamp. She is never late."
    assert merge_texts("weighted", [text, text, "No."]) == text


def test_majority_takes_the_paragraph_that_others_agree_with():
    merged = merge_texts("majority", [f"{MOON}\n\n{SUN}", f"{SUN}\n\n{MOON}", f"{SUNNY}\n\n{MOON}"])
    assert merged.split("\n\n")[1] == MOON
    assert merged.split("\n\n")[0] in (SUN, SUNNY)


def test_majority_does_not_go_on_where_most_have_ended():
    assert merge_texts("majority", [SUN, SUN, f"{SUN}\n\n{MOON}"]) == SUN


def test_weighted_takes_sentences_of_the_texts_that_others_agree_with():
    merged = merge_texts("weighted", [f"{SUN} {MOON}", f"{SUNNY} {MOON}", "No idea. Ask another."])
    assert merged.endswith(MOON)
    assert "idea" not in merged
    assert (
        merge_texts("weighted", ["天是蓝的。草是绿的。", "天是蓝的。草是绿的。"])
        == "天是蓝的。草是绿的。"
    )


def test_hierarchical_divides_paragraphs_and_not_characters():
    texts = [
        f"{SUN}\n\nMiddle one.\n\nDo this.",
        f"{SUNNY}\n\nAnother middle thing here.\n\nTry something else.",
    ]
    merged = merge_texts("hierarchical", texts)
    assert merged == (
        f"## Overview\n\n{SUN}\n\n## Details\n\nMiddle one.\n\nAnother middle thing here.\n\n"
        "## Recommendations\n\nDo this.\n\nTry something else."
    )


def test_consensus_says_each_thing_once_and_first_what_several_say():
    merged = merge_texts("consensus", [f"{MOON}\n\n{SUN}", f"{SUNNY}\n\n{CODE}"])
    assert merged == f"{SUN}\n\n{MOON}\n\n{CODE}"


def test_code_is_never_divided():
    for method in sorted(MERGERS):
        assert CODE in merge_texts(method, [f"{SUN}\n\n{CODE}", f"{SUN}\n\n{CODE}"])
