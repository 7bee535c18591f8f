"""A text's outline: the same from a process of its own, and whole again from its bytes."""

import subprocess
import sys

import pytest

from conversations.documents.index_worker import (
    INLINE_CHARS,
    IndivisibleText,
    Outline,
    Splitting,
    build_packed_outline,
    divide_text,
)
from conversations.text.split import PASSAGE_CHARS

LONG = "".join(
    f"Paragraph {n} speaks of the harbour, the tide and number {n * 7}. 第{n}段讲港口。\n\n"
    for n in range(700)
)


def test_a_long_text_is_divided_elsewhere_as_it_is_here():
    assert len(LONG) > INLINE_CHARS
    made, here = (
        divide_text(LONG, Splitting(), 30),
        Outline.from_packed(build_packed_outline(LONG, Splitting())),
    )
    assert made.scored_spans == list(zip(here.starts, here.ends, here.scores, strict=True))
    again = Outline.from_packed(made.packed_outline)
    assert (again.starts, again.ends, again.scores) == (here.starts, here.ends, here.scores)
    assert (
        again.index.search_passages("number 693") == here.index.search_passages("number 693") != []
    )


def test_passages_hold_every_character_and_scores_divide_them():
    made = Outline.from_packed(build_packed_outline(LONG, Splitting(size=300)))
    assert (
        "".join(LONG[start:end] for start, end in zip(made.starts, made.ends, strict=True)) == LONG
    )
    assert max(made.passage_length(number) for number in range(len(made))) <= 300
    assert min(made.scores) == 0.0
    assert max(made.scores) > 0.9
    assert [made.rank_by_density()[0].key, made.rank_by_density()[1].score] == [
        0,
        max(made.scores[1:]),
    ]


def test_what_has_no_text_has_no_passages():
    made = divide_text(" \n\t", Splitting(), 5)
    assert (made.scored_spans, len(Outline.from_packed(made.packed_outline))) == ([], 0)


def test_a_text_that_takes_too_long_is_given_up():
    with pytest.raises(IndivisibleText, match="longer than"):
        divide_text(LONG, Splitting(), 0.001)


def test_a_process_that_breaks_down_is_told_as_such(monkeypatch):
    monkeypatch.setattr("conversations.documents.index_worker.PROGRAM", "raise SystemExit(9)")
    with pytest.raises(IndivisibleText, match="too much"):
        divide_text(LONG, Splitting(), 30)


def test_only_a_few_kilobytes_are_divided_in_this_process(monkeypatch):
    monkeypatch.setattr("conversations.documents.index_worker.PROGRAM", "raise SystemExit(9)")
    assert INLINE_CHARS <= 5_000
    assert divide_text("word " * 800, Splitting(), 30).scored_spans
    with pytest.raises(IndivisibleText):
        divide_text("word " * 1_001, Splitting(), 30)


STARTED = """
import sys
from conversations.documents import index_worker as divide
divide.PROGRAM = (
    "import os, sys; sys.path.insert(0, sys.argv[1]);"
    "from conversations.documents import index_worker as divide;"
    "print(os.getpid(), file=sys.stderr, flush=True);"
    "divide.build_packed_outline = lambda *args: divide.time.sleep(600);"
    "divide.main()"
)
piped = divide.subprocess.PIPE
run = divide.subprocess.run
divide.subprocess.run = lambda *args, capture_output, **rest: run(*args, stdout=piped, **rest)
divide.divide_text(  "word " * 10_000, divide.Splitting(), 600)
"""


def test_a_process_whose_starter_was_killed_ends():
    starter = subprocess.Popen([sys.executable, "-c", STARTED], stderr=subprocess.PIPE)
    assert int(starter.stderr.readline()) != starter.pid
    starter.kill()
    starter.wait()
    assert starter.stderr.read() == b""  # which ends when nobody is left who could write
    starter.stderr.close()


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({}, Splitting()),
        (
            {"batch_size": 800, "overlap_size": 50, "entropy_method": "word"},
            Splitting(800, 50, "word"),
        ),
        ({"batch_size": 1, "overlap_size": 9_999}, Splitting(100, 50)),
        ({"batch_size": 10**9, "overlap_size": -1}, Splitting(8_000, 0)),
        ({"batch_size": True, "entropy_method": "magic"}, Splitting(PASSAGE_CHARS)),
        ("nonsense", Splitting()),
    ],
)
def test_a_profile_says_how_texts_are_divided_within_reason(processor, expected):
    assert Splitting.from_options({"processor": processor}) == expected


def test_a_digest_is_of_the_text_and_of_how_it_is_divided():
    digests = {
        way.compute_digest(text)
        for way in (Splitting(), Splitting(300), Splitting(overlap=10))
        for text in ("a", "b")
    }
    assert len(digests) == 6
