"""A text's outline: the same from a process of its own, and whole again from its bytes."""

import subprocess
import sys

import pytest

from conversations.documents.index_worker import (
    INLINE_CHARS,
    Indivisible,
    Outline,
    Splitting,
    divide,
    outline,
)
from conversations.text.split import SIZE

LONG = "".join(
    f"Paragraph {n} speaks of the harbour, the tide and number {n * 7}. 第{n}段讲港口。\n\n"
    for n in range(700)
)


def test_a_long_text_is_divided_elsewhere_as_it_is_here():
    assert len(LONG) > INLINE_CHARS
    made, here = divide(LONG, Splitting(), 30), Outline.unpack(outline(LONG, Splitting()))
    assert made.spans == list(zip(here.starts, here.ends, here.scores, strict=True))
    again = Outline.unpack(made.packed)
    assert (again.starts, again.ends, again.scores) == (here.starts, here.ends, here.scores)
    assert again.index.search("number 693") == here.index.search("number 693") != []


def test_passages_hold_every_character_and_scores_divide_them():
    made = Outline.unpack(outline(LONG, Splitting(size=300)))
    assert (
        "".join(LONG[start:end] for start, end in zip(made.starts, made.ends, strict=True)) == LONG
    )
    assert max(made.length(number) for number in range(len(made))) <= 300
    assert min(made.scores) == 0.0
    assert max(made.scores) > 0.9
    assert [made.densest()[0].key, made.densest()[1].score] == [0, max(made.scores[1:])]


def test_what_has_no_text_has_no_passages():
    made = divide(" \n\t", Splitting(), 5)
    assert (made.spans, len(Outline.unpack(made.packed))) == ([], 0)


def test_a_text_that_takes_too_long_is_given_up():
    with pytest.raises(Indivisible, match="longer than"):
        divide(LONG, Splitting(), 0.001)


def test_a_process_that_breaks_down_is_told_as_such(monkeypatch):
    monkeypatch.setattr("conversations.documents.index_worker.PROGRAM", "raise SystemExit(9)")
    with pytest.raises(Indivisible, match="too much"):
        divide(LONG, Splitting(), 30)


def test_only_a_few_kilobytes_are_divided_in_this_process(monkeypatch):
    monkeypatch.setattr("conversations.documents.index_worker.PROGRAM", "raise SystemExit(9)")
    assert INLINE_CHARS <= 5_000
    assert divide("word " * 800, Splitting(), 30).spans
    with pytest.raises(Indivisible):
        divide("word " * 1_001, Splitting(), 30)


STARTED = """
import sys
from conversations.documents import index_worker as divide
divide.PROGRAM = (
    "import os, sys; sys.path.insert(0, sys.argv[1]);"
    "from conversations.documents import index_worker as divide;"
    "print(os.getpid(), file=sys.stderr, flush=True);"
    "divide.outline = lambda *args: divide.time.sleep(600);"
    "divide.main()"
)
piped = divide.subprocess.PIPE
run = divide.subprocess.run
divide.subprocess.run = lambda *args, capture_output, **rest: run(*args, stdout=piped, **rest)
divide.divide("word " * 10_000, divide.Splitting(), 600)
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
        ({"batch_size": True, "entropy_method": "magic"}, Splitting(SIZE)),
        ("nonsense", Splitting()),
    ],
)
def test_a_profile_says_how_texts_are_divided_within_reason(processor, expected):
    assert Splitting.of({"processor": processor}) == expected


def test_a_digest_is_of_the_text_and_of_how_it_is_divided():
    digests = {
        way.digest(text)
        for way in (Splitting(), Splitting(300), Splitting(overlap=10))
        for text in ("a", "b")
    }
    assert len(digests) == 6
