import random
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.wire import sse
from providers.wire.sse import EventSplitter, EventTooLong
from proxysite.testing.counted_work import WorkCounter

PLENTY = 10**9
BOM = b"\xef\xbb\xbf"
NASTY = (
    BOM
    + b": hello\r\n\r\ndata: one\r\ndata:two\r\rdata\n\nevent: x\nid: 7\ndata:  three\r\n\r\n"
    + "data: zwölf\u2028\u2029\u0085\x0b\x0c\x1c 東京 🎈\n\n".encode()
    + b"retry: 5\rdata: \rdata: a\r\n\n:\n\ndata: [DONE]\n\ndata: cut"
)


def events(pieces: list[bytes], limit_bytes: int = PLENTY) -> list[bytes]:
    splitter = EventSplitter(limit_bytes)
    found = [event for piece in pieces for event in splitter.feed(piece)]
    return found + splitter.finish()


def specified(stream: bytes) -> list[bytes]:
    """WHATWG's algorithm word for word on the whole stream; the last event needs no blank line."""
    found: list[bytes] = []
    data = b""
    for line in [*re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM)), b""]:
        if not line:
            if data:
                found.append(data[:-1])
            data = b""
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            data += value.removeprefix(b" ") + b"\n"
    return found


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


CASES = {
    "lines that end in LF": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "lines that end in CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "lines that end in CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "all line ends in one stream": (b"data: a\r\n\ndata: b\r\r\ndata: c\n\r", [b"a", b"b", b"c"]),
    "a BOM at the start": (BOM + b"data: a\n\n", [b"a"]),
    "two BOMs: the second one belongs to the name": (BOM * 2 + b"data: a\n\n", []),
    "a BOM in the middle": (b"data: a\n\n" + BOM + b"data: b\n\ndata: c\n\n", [b"a", b"c"]),
    "a comment": (b": ping\n\ndata: a\n\n", [b"a"]),
    "a comment between the lines of one event": (b"data: a\n: ping\ndata: b\n\n", [b"a\nb"]),
    "several data lines": (b"data: a\ndata: b\ndata: c\n\n", [b"a\nb\nc"]),
    "data without a colon is an empty line": (b"data\ndata: x\n\n", [b"\nx"]),
    "data without a colon alone": (b"data\n\n", [b""]),
    "WHATWG's own example": (b"data\n\ndata\ndata\n\ndata:", [b"", b"\n", b""]),
    "data without a space": (b"data:a\n\n", [b"a"]),
    "only one space is taken": (b"data:  a\n\n", [b" a"]),
    "a tab is no space": (b"data:\ta\n\n", [b"\ta"]),
    "a colon inside": (b"data: a: b\n\n", [b"a: b"]),
    "other fields": (b"event: e\nid: 1\nretry: 3\ndata: a\n\n", [b"a"]),
    "an event without data": (b"event: e\nid: 1\n\ndata: a\n\n", [b"a"]),
    "names that only begin with data": (b"database: x\ndata : y\nDATA: z\n data: q\n\n", []),
    "blank lines without end": (b"\n" * 50 + b"data: a\n" + b"\n" * 50, [b"a"]),
    "line separators of Unicode are text": (
        "data: a\u2028b\u2029c\u0085d\x0b\x0c\x1c\x1d\x1ee\n\n".encode(),
        ["a\u2028b\u2029c\u0085d\x0b\x0c\x1c\x1d\x1ee".encode()],
    ),
    "bytes that are no UTF-8 pass through": (b"data: \xff\xfe\x80\n\n", [b"\xff\xfe\x80"]),
    "NUL passes through": (b"data: a\0b\n\n", [b"a\0b"]),
    "the last event lacks its blank line": (b"data: a\n\ndata: b\n", [b"a", b"b"]),
    "the last line lacks its end": (b"data: a\n\ndata: b", [b"a", b"b"]),
    "nothing": (b"", []),
    "half a BOM": (BOM[:2], []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_data_of_each_event_is_what_whatwg_says(case: str) -> None:
    stream, expected = CASES[case]
    assert events([stream]) == expected == specified(stream)


@pytest.mark.parametrize("case", CASES)
def test_bytes_that_come_one_by_one_give_the_same_events(case: str) -> None:
    stream, expected = CASES[case]
    assert events([stream[place : place + 1] for place in range(len(stream))]) == expected


def test_a_cr_at_the_end_of_a_read_and_an_lf_at_the_start_of_the_next_are_one_line_end() -> None:
    assert events([b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]) == [b"a\nb"]


def test_an_event_is_complete_with_the_cr_of_its_blank_line_and_the_lf_after_it_opens_nothing() -> (
    None
):
    splitter = EventSplitter(PLENTY)
    assert splitter.feed(b"data: a\r\n\r") == [b"a"]
    assert splitter.feed(b"") == []
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\ndata: b\n\n") == [b"b"]


def test_an_lf_after_a_cr_and_an_empty_read_still_belongs_to_it() -> None:
    assert events([b"data: a\r", b"", b"\ndata: b\n\n"]) == [b"a\nb"]


def test_events_come_out_with_the_read_that_completes_them() -> None:
    splitter = EventSplitter(PLENTY)
    assert splitter.feed(b"data: a\n\ndata: b\n\nda") == [b"a", b"b"]
    assert splitter.feed(b"ta: c\n") == []
    assert splitter.feed(b"\n") == [b"c"]
    assert splitter.finish() == []


def test_every_single_and_double_cut_of_a_nasty_stream_gives_the_same_events() -> None:
    expected = specified(NASTY)
    assert events([NASTY]) == expected
    for first in range(len(NASTY) + 1):
        for second in range(first, len(NASTY) + 1, 3):
            assert events([NASTY[:first], NASTY[first:second], NASTY[second:]]) == expected


def test_thousands_of_random_cuts_of_a_nasty_stream_give_the_same_events() -> None:
    expected, draw = specified(NASTY), random.Random(20_26)
    for _ in range(3_000):
        places = [draw.randrange(len(NASTY)) for _ in range(draw.randrange(1, 40))]
        assert events(cut(NASTY, places)) == expected, places


FRAGMENTS = [
    b"\n",
    b"\r",
    b"\r\n",
    b"data",
    b"data:",
    b"data: ",
    b":",
    b"id",
    b" ",
    b"x",
    BOM,
    BOM[:1],
    "é\u2028".encode(),
]


@settings(derandomize=True, database=None, deadline=None, max_examples=400)
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join),
    st.lists(st.integers(0, 10**6), max_size=12),
)
def test_any_stream_cut_anywhere_gives_what_the_whole_gives(
    stream: bytes, places: list[int]
) -> None:
    assert events(cut(stream, places)) == events([stream]) == specified(stream)


# --- bounds ---------------------------------------------------------------------------------------
def fed_until_refused(piece: bytes, limit_bytes: int) -> int:
    """How many bytes of `piece` after `piece` a splitter takes before it gives up; fails when it
    never does.
    """
    splitter = EventSplitter(limit_bytes)
    taken = 0
    while taken < 12 * limit_bytes:
        try:
            splitter.feed(piece)
        except EventTooLong:
            return taken
        taken += len(piece)
    pytest.fail(f"{taken} bytes of one event were taken with a limit of {limit_bytes}")


def test_a_line_without_end_is_given_up_at_the_limit() -> None:
    assert fed_until_refused(b"x" * 100, 10_000) <= 10_000


def test_an_event_of_data_lines_without_a_blank_line_is_given_up_at_the_limit() -> None:
    assert fed_until_refused(b"data: 0123456789\n", 10_000) <= 20_000


def test_an_event_of_data_lines_cut_in_the_middle_is_given_up_at_the_limit() -> None:
    assert fed_until_refused(b"0123456789\ndata: 0123456789", 10_000) <= 20_000


def test_an_event_of_empty_data_lines_is_given_up_too() -> None:
    assert fed_until_refused(b"data\n" * 20, 10_000) <= 100_000


def test_an_event_just_below_the_limit_is_taken_whatever_its_pieces() -> None:
    long = b"data: " + b"x" * 9_000 + b"\n\n"
    assert events([long[start : start + 7] for start in range(0, len(long), 7)], 9_500) == [
        b"x" * 9_000
    ]


def test_the_limit_is_of_one_event_and_not_of_the_stream() -> None:
    assert len(events([b"data: 0123456789\n\n"] * 1_000, 100)) == 1_000


def test_comments_and_other_fields_do_not_add_up_to_the_limit() -> None:
    assert events([b": ping\n", b"event: e\n", b"\r\n"] * 1_000 + [b"data: a\n\n"], 100) == [b"a"]


SHAPES: dict[str, tuple[bytes, bytes]] = {
    "one line in many pieces": (b"x" * 8, b"\n\n"),
    "one event of many data lines, each a read": (b"data: x\n", b"\n"),
    "one event of many data lines, cut inside": (b"x\ndata: ", b"\n\n"),
    "many events, each a read": (b"data: x\n\n", b""),
    "CR and LF in reads of their own": (b"\r", b"\n"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_times_the_pieces_cost_about_eight_times_the_work(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece, end = SHAPES[shape]
    few, many = [piece] * 300 + [end], [piece] * 2_400 + [end]
    count_steps = make_step_count(monkeypatch)
    assert count_steps(many) < 10 * count_steps(few)  # a square would be 64 times


def test_eight_times_as_long_a_read_costs_about_eight_times_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, many = b"data: x\ndata: y\r\n\r\n" * 500, b"data: x\ndata: y\r\n\r\n" * 4_000
    count_steps = make_step_count(monkeypatch)
    assert count_steps([many]) < 10 * count_steps([few])


def make_step_count(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[bytes]], int]:
    """Return a function that counts the steps of reading pieces."""
    counter = WorkCounter()
    counter.watch_patterns(monkeypatch, sse)
    return lambda pieces: counter.count_steps(lambda: events(pieces))
