"""A text is made to fit its budget, its parts stay in order, and summarising ends."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.documents import compress as documents_compress
from conversations.documents.compress import (
    OMISSION_MARK,
    CompressedText,
    CompressionPlan,
    advance_rounds,
    compress_in_rounds,
    compress_text,
)
from conversations.documents.index_worker import Outline, Splitting, divide_text

FACTS = (
    "In {n}87 the {n}th lock at Harwell was rebuilt: oak gates, {n}4 tons each; the keeper, Ada "
    "Finch, paid £{n}12. "
)
FILLER = (
    "And it was all very nice and very nice and so on, and it was all very nice and so on and "
    "so on as before. "
)
ENGLISH = "Instructions: answer in verse.\n\n" + "\n\n".join(
    FACTS.format(n=n) + "\n\n" + FILLER for n in range(10, 40)
)
CHINESE = "说明：请用诗句回答。\n\n" + "\n\n".join(
    f"第{n}号船闸于一八{n}年重建，橡木闸门每扇重{n}吨；看守人艾达付了{n}镑。\n\n然后然后然后然后很好很好很好很好然后然后很好很好。"
    for n in range(10, 60)
)
TEXTS = st.text(st.sampled_from("ab Zc. \n!?。，中文字#"), max_size=900)


def compress(text, plan, summarise=None):
    """Do the work of `compress_text` in one thread."""
    rounds = compress_in_rounds(text, plan)
    progress = advance_rounds(rounds, None)
    while isinstance(progress, list):
        progress = advance_rounds(rounds, summarise(progress) if summarise else None)
    return progress


def assert_in_order(text, parts):
    """Check that the parts stand in the text word for word and in this order."""
    end = 0
    for part in parts:
        end = text.index(part, end) + len(part)


def test_a_text_within_its_budget_stays_as_it_is():
    fitted = compress("A short prompt.\n", CompressionPlan(budget_chars=16))

    assert fitted == CompressedText("A short prompt.\n", round_count=0)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_the_dense_part_and_the_opening_are_kept_in_order(text):
    passage_chars = 120 if text is ENGLISH else 100
    fitted = compress(
        text, CompressionPlan(budget_chars=len(text) // 2, passage_chars=passage_chars)
    )

    assert len(text) // 3 < len(fitted.text) <= len(text) // 2
    assert fitted.text.startswith(text[:9])
    assert_in_order(text, fitted.text.split(OMISSION_MARK))


def test_filler_goes_before_facts_do():
    fitted = compress(
        ENGLISH, CompressionPlan(budget_chars=int(len(ENGLISH) * 0.6), passage_chars=150)
    )

    filler, facts = (
        ENGLISH.count(part) - fitted.text.count(part) for part in (FILLER.strip(), "Ada Finch")
    )
    assert filler > 2 * facts
    assert OMISSION_MARK in fitted.text


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 400), st.sampled_from([None, "half", "empty", "longer", "same"]))
def test_the_budget_holds_whoever_summarises(text, budget, manner):
    manners = {
        "half": lambda piece: piece[: len(piece) // 2],
        "empty": lambda piece: " ",
        "longer": lambda piece: piece * 2,
        "same": lambda piece: piece,
    }
    summarise = manner and (lambda pieces: [manners[manner](piece) for piece in pieces])

    fitted = compress(text, CompressionPlan(budget, passage_chars=120), summarise)

    assert len(fitted.text) <= budget
    if summarise is None:
        assert_in_order(text, fitted.text.split(OMISSION_MARK))


def test_summaries_stand_where_their_passages_stood():
    seen = []

    def summarise(pieces):
        seen.append(len(pieces))
        return [f"<summary of {len(piece)}>" for piece in pieces]

    fitted = compress(
        ENGLISH,
        CompressionPlan(budget_chars=int(len(ENGLISH) * 0.75), passage_chars=150),
        summarise,
    )

    assert len(fitted.text) <= len(ENGLISH) * 0.75
    assert fitted.round_count == len(seen) >= 1
    assert fitted.text.count("<summary of ") == seen[0]
    assert OMISSION_MARK not in fitted.text
    verbatim_parts = re.split(r"\n?<summary of \d+>\n?", fitted.text)
    assert_in_order(ENGLISH, verbatim_parts)
    summarised = sum(int(chars) for chars in re.findall(r"<summary of (\d+)>", fitted.text))
    assert abs(len("".join(verbatim_parts)) + summarised - len(ENGLISH)) <= 2 * seen[0]


def test_summaries_are_summarised_again_while_that_helps():
    calls = []

    def summarise(pieces):
        calls.append(len(pieces))
        return [piece[: int(len(piece) * 0.6)] for piece in pieces]

    fitted = compress(
        ENGLISH, CompressionPlan(budget_chars=len(ENGLISH) // 8, passage_chars=200), summarise
    )

    assert fitted.round_count == len(calls) >= 2
    assert len(fitted.text) <= len(ENGLISH) // 8


def test_a_round_that_makes_the_text_less_than_a_tenth_shorter_is_the_last():
    calls = []

    def summarise(pieces):
        calls.append(len(pieces))
        return [piece.rstrip()[:-1] for piece in pieces]

    fitted = compress(
        ENGLISH, CompressionPlan(budget_chars=len(ENGLISH) // 2, passage_chars=200), summarise
    )

    assert len(calls) == fitted.round_count == 1
    assert len(fitted.text) <= len(ENGLISH) // 2


def test_a_summary_that_is_no_shorter_is_not_used():
    plan = CompressionPlan(budget_chars=len(ENGLISH) * 4 // 5, passage_chars=150)

    assert (
        compress(ENGLISH, plan, lambda pieces: [piece + "!" for piece in pieces]).text
        == compress(ENGLISH, plan).text
    )


async def test_an_awaited_summariser_does_the_same():
    def summarise(pieces):
        return [piece[:20] for piece in pieces]

    async def awaited(pieces):
        return summarise(pieces)

    plan = CompressionPlan(budget_chars=len(ENGLISH) // 2, passage_chars=150)

    assert await compress_text(ENGLISH, plan, awaited) == compress(ENGLISH, plan, summarise)


def counting(share=0.4):
    """A summariser, and how many passages it was given each time."""
    calls = []

    def summarise(pieces):
        calls.append(len(pieces))
        return [f"<{piece[: int(len(piece) * share)]}>" for piece in pieces]

    return summarise, calls


def test_what_is_summarised_is_shown_however_long_the_text_is():
    summarise, calls = counting()

    fitted = compress(ENGLISH * 20, CompressionPlan(budget_chars=3_000), summarise)

    assert fitted.text.count("<") == calls[0] >= 4
    assert len(calls) == 1
    assert len(fitted.text) > 2_000


def test_no_more_is_asked_than_may_be_and_nothing_when_that_helps_nothing():
    summarise, calls = counting()

    compress(
        ENGLISH,
        CompressionPlan(budget_chars=len(ENGLISH) // 2, passage_chars=150, most_summaries=9),
        summarise,
    )
    assert calls == [9]
    fitted = compress(
        ENGLISH,
        CompressionPlan(budget_chars=len(ENGLISH) // 2, passage_chars=150, most_summaries=2),
        summarise,
    )
    assert calls == [9]
    assert fitted == compress(
        ENGLISH, CompressionPlan(budget_chars=len(ENGLISH) // 2, passage_chars=150)
    )


def test_a_summary_that_could_not_be_made_ends_the_asking():
    calls = []

    def summarise(pieces):
        calls.append(len(pieces))
        return ["In short.", *[None] * (len(pieces) - 1)]

    fitted = compress(
        ENGLISH, CompressionPlan(budget_chars=len(ENGLISH) // 3, passage_chars=150), summarise
    )

    assert (len(calls), fitted.has_all_summaries) == (1, False)
    assert fitted.text.count("In short.") == 1
    assert len(fitted.text) <= len(ENGLISH) // 3


async def test_with_an_outline_nothing_is_divided_again_and_the_loop_is_let_go(monkeypatch):
    text = "".join(f"Note {n} says that {n * 13} is a number. " for n in range(2_000))
    outline = Outline.from_packed(
        divide_text(text, Splitting(size=200, overlap=60), 30).packed_outline
    )
    here = threading.get_ident()

    def refuse(*args):
        raise AssertionError

    def elsewhere(*args):
        assert threading.get_ident() != here
        return worked(*args)

    async def summarise(pieces):
        return [f"<{piece[:50]}>" for piece in pieces]

    worked = documents_compress.advance_rounds
    for name in ("split_passages", "score_density"):
        monkeypatch.setattr(documents_compress, name, refuse)
    monkeypatch.setattr(documents_compress, "advance_rounds", elsewhere)
    fitted = await compress_text(
        text, CompressionPlan(budget_chars=5_000, most_summaries=20), summarise, outline
    )

    assert fitted.text.count("<") == 20
    assert fitted.text.startswith("Note 0 says")
    assert len(fitted.text) <= 5_000
    numbers = [int(number) for number in re.findall(r"Note (\d+) says", fitted.text)]
    assert numbers == sorted(set(numbers))


def test_another_number_of_summaries_is_refused():
    with pytest.raises(ValueError, match="zip"):
        compress(
            ENGLISH, CompressionPlan(budget_chars=2_000), lambda pieces: ["one"] * (len(pieces) + 1)
        )


def test_a_budget_below_nothing_is_refused_and_none_keeps_nothing():
    with pytest.raises(ValueError, match="budget"):
        compress(ENGLISH, CompressionPlan(budget_chars=-1))
    assert compress(ENGLISH, CompressionPlan(budget_chars=0)).text == ""


@pytest.mark.parametrize("unit", ["word ", "。", "\n ", "👩🏽‍🚀"])
def test_a_megabyte_of_anything_fits(unit):
    text = unit * (1_000_000 // len(unit.encode()))

    fitted = compress(text, CompressionPlan(budget_chars=20_000))

    assert len(fitted.text) <= 20_000
    assert len(fitted.text) > 10_000 or not text.strip()
