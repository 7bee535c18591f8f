"""A long text within a budget: its opening, what says most, and what concerns the question."""

from functools import cache

import pytest

from conversations.documents.compress import OMISSION_MARK
from conversations.documents.excerpt import ExcerptFrame, build_excerpt
from conversations.documents.index_worker import Outline, Splitting, divide_text

TEXT = "You are a guide. Answer from the notes below.\n\n" + "".join(
    (
        f"Note {n}: the {('ferry', 'bridge', 'tower', 'market')[n % 4]} has number {n * 13}, "
        f"painted in {1800 + n}.\n\n"
    )
    for n in range(300)
)


@cache
def outline(text, splitting):
    return Outline.from_packed(divide_text(text, splitting, 30).packed_outline)


MADE = outline(TEXT, Splitting(size=120))
MARK = "these passages concern the last question"


def shortened(question="", **frame):
    hits = MADE.index.search_passages(question, 100) if question else []
    return build_excerpt(TEXT, MADE, hits, ExcerptFrame(**frame))


@pytest.mark.parametrize("budget", [*range(0, 900, 47), 1_000, 3_000, 9_000, len(TEXT) - 1])
def test_it_is_never_longer_than_its_budget(budget):
    for question in ("", "When was the tower painted in 1902?"):
        assert len(shortened(question, budget_chars=budget)) <= budget


def test_a_text_that_fits_stays_as_it_is():
    assert shortened("tower", budget_chars=len(TEXT)) == TEXT


def test_the_opening_and_what_is_asked_for_are_there_and_marked():
    said = shortened("What was painted in 1902?", budget_chars=3_000)
    assert said.startswith("You are a guide.")
    before, _, after = said.partition(MARK)
    assert "painted in 1902" in after
    assert "painted in 1902" not in before
    assert after.endswith("[End of the passages.]")
    assert OMISSION_MARK in before
    assert f"of its {len(TEXT)} characters are shown" in before


def test_the_dense_part_stays_the_same_whatever_is_asked():
    first, second = (
        shortened(f"What was painted in {year}?", budget_chars=3_000) for year in (1902, 2050)
    )
    assert first != second
    assert first.partition("[The text above")[0] == second.partition("[The text above")[0]


def test_without_a_question_the_dense_part_has_all_the_room():
    said = shortened(budget_chars=3_000)
    assert MARK not in said
    assert len(said) > 2_500


def test_passages_stand_in_the_order_of_the_text():
    said = shortened("ferry bridge tower market number painted", budget_chars=4_000)
    for part in said.split(MARK):
        numbers = [int(piece.split(":")[0]) for piece in part.split("Note ")[1:]]
        assert numbers == sorted(numbers)
        assert len(numbers) == len(set(numbers)) > 5


def test_a_brief_stands_instead_of_the_dense_part():
    said = shortened(
        "What was painted in 1902?", budget_chars=2_000, summary="In short: things get painted."
    )
    assert said.startswith("In short: things get painted.")
    assert "painted in 1902" in said


def test_overlapping_passages_repeat_nothing():
    text = "One sentence follows the other here without a break. " * 60
    made = outline(text, Splitting(size=200, overlap=60))
    said = build_excerpt(text, made, [], ExcerptFrame(len(text) - 1))
    assert "break. One sentence" in said
    assert max(len(piece) for piece in said.split("\n")) <= len(text)
    assert text.startswith(said.split(OMISSION_MARK)[0].split("\n\n[The text")[0][:150])


def test_room_that_the_question_leaves_is_filled_with_what_says_most():
    few = MADE.index.search_passages("What was painted in 1902?", 2)
    said = build_excerpt(TEXT, MADE, few, ExcerptFrame(6_000))
    assert len(said) > 5_500
    shown, _, after = said.partition("this says most:]")
    concerning = after.partition(MARK)[2]
    assert "painted in 1902" in concerning
    assert len(concerning) < 500
    assert (
        shown.partition("[The text above")[0]
        == shortened("2050", budget_chars=6_000).partition("[The text above")[0]
    )
    numbers = [piece.split(":")[0] for piece in said.split("Note ")[1:]]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("brief", ["", "In short: things get painted."])
def test_of_instructions_head_and_tail_stay(brief):
    rules = "".join(f"Rule {n}: never say {n * 7}.\n" for n in range(16))
    text = rules[:200] + TEXT + rules[200:]
    made = outline(text, Splitting(size=120))
    said = build_excerpt(
        text,
        made,
        made.index.search_passages("tower", 100),
        ExcerptFrame(4_000, summary=brief, end_chars=400),
    )
    shown = said.partition("\n\n[The text above is shortened")[0]
    assert shown.startswith(rules[:200])
    assert shown.endswith(rules[200:])
    assert brief in shown
    assert len(said) <= 4_000
    assert shown.count("Rule 15") == 1


@pytest.mark.parametrize("budget", [*range(0, 900, 47), 1_000, 3_000, 9_000])
@pytest.mark.parametrize(
    "text", [TEXT, "中文。" * 5_000, "x" * 9_000], ids=["notes", "chinese", "one word"]
)
def test_with_ends_and_a_brief_it_is_never_longer_either(text, budget):
    made = outline(text, Splitting())
    for brief in ("", "b" * (budget // 2)):
        assert (
            len(
                build_excerpt(
                    text,
                    made,
                    made.index.search_passages("tower 中文", 9),
                    ExcerptFrame(budget, 0, brief, 4_000),
                )
            )
            <= budget
        )


def test_head_and_tail_end_where_sentences_do():
    head = "First of all, be kind to everybody whom you meet around here."
    tail = " At the end of it all be brief, be kind and be gone. Thanks."
    text = f"{head} Then {'go on and ' * 500} stop there.{tail}"
    made = outline(text, Splitting(size=100))
    shown = build_excerpt(
        text, made, [], ExcerptFrame(1_000, summary="In short.", end_chars=100)
    ).partition("\n\n[The text above")[0]
    assert shown == OMISSION_MARK.join((head, "In short.", tail))
