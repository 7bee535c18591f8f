"""Connect's frames: whatever the cuts, the same messages; what is too long is refused before it is
there.
"""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.wire.connect import FrameSplitter, build_frame
from providers.wire.sse import EventTooLong

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=100)


def test_a_frame_is_its_flags_its_length_and_its_message() -> None:
    assert build_frame(b'{"a":1}') == b'\x00\x00\x00\x00\x07{"a":1}'
    assert build_frame(b"{}", 2) == b"\x02\x00\x00\x00\x02{}"
    assert build_frame(b"") == b"\x00\x00\x00\x00\x00"


def test_messages_come_out_behind_their_flags() -> None:
    splitter = FrameSplitter(100)
    assert splitter.feed(
        build_frame(b"one") + build_frame(b"") + build_frame(b"z", 1) + build_frame(b"{}", 2)
    ) == [
        b"\x00one",
        b"\x00",
        b"\x01z",
        b"\x02{}",
    ]
    assert splitter.finish() == []


@pytest.mark.parametrize("kept", range(1, 8))
def test_a_frame_that_lacks_its_end_says_nothing(kept: int) -> None:
    splitter = FrameSplitter(100)
    assert splitter.feed(build_frame(b"abc")[:kept]) == []
    assert splitter.finish() == []


def test_a_frame_may_be_as_long_as_the_limit_and_not_longer() -> None:
    assert FrameSplitter(3).feed(build_frame(b"abc")) == [b"\x00abc"]
    with pytest.raises(EventTooLong):
        FrameSplitter(3).feed(build_frame(b"abcd")[:5])


def test_a_huge_length_is_refused_before_anything_of_it_came() -> None:
    splitter = FrameSplitter(1_000_000)
    assert splitter.feed(b"\x00\xff\xff\xff") == []
    with pytest.raises(EventTooLong):
        splitter.feed(b"\xff")


@FAST
@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_any_cuts_give_the_same_messages(
    sent: list[tuple[int, bytes]], draw: random.Random
) -> None:
    data = b"".join(struct.pack(">BI", flags, len(message)) + message for flags, message in sent)
    at = sorted(draw.randrange(len(data) + 1) for _ in range(draw.randrange(10)))
    splitter, found = FrameSplitter(300), []
    for start, end in zip([0, *at], [*at, len(data)], strict=True):
        found += splitter.feed(data[start:end])
    assert found == [bytes([flags]) + message for flags, message in sent]


@FAST
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_split_or_refused(pieces: list[bytes]) -> None:
    splitter, found = FrameSplitter(50), []
    try:
        for piece in pieces:
            found += splitter.feed(piece)
    except EventTooLong:
        return
    assert (
        b"".join(build_frame(one[1:], one[0]) for one in found)
        == b"".join(pieces)[: sum(len(one) + 4 for one in found)]
    )
