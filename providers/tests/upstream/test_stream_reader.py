import json
import random
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from providers.exceptions import BadResponse, Disconnected, RateLimited, UpstreamError
from providers.protocol.chunks import Chunk
from providers.upstream.stream_reader import LARGE_EVENT_BYTES, MOST_BROKEN_EVENTS, StreamReader
from providers.wire.json_reader import read_json, read_raw_json


def read_event(data: bytes) -> Chunk | None:
    try:
        chunk = read_json(data)
    except ValueError:
        return None
    if isinstance(chunk, dict) and "error" in chunk:
        raise RateLimited("slow down")
    return chunk if isinstance(chunk, dict) else None


def reader(event_bytes: int = 10_000, *, chat: bool = True) -> StreamReader:
    return StreamReader(read_event, event_bytes, chat=chat)


def event(text: str | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    delta = {"content": text} if text is not None else {}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % orjson.dumps({"choices": [choice], **more})


DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 1}}\n\n'
HELLO = event("hel") + event("lo") + event(None, "stop")


def run(
    stream: bytes, cut: Callable[[bytes], list[bytes]] = lambda stream: [stream]
) -> tuple[str, StreamReader]:
    """The text a caller sees, and the reader when the bytes are over or nothing more is to be
    read.
    """
    found = reader()
    chunks: list[Chunk] = []
    for piece in cut(stream):
        chunks += found.feed(piece)
        if found.is_over:
            break
    chunks += found.read_last_event()
    return "".join(
        c["delta"].get("content") or "" for one in chunks for c in one["choices"] if "delta" in c
    ), found


ENDS_WELL = {
    "with [DONE]": HELLO + DONE,
    "with usage and [DONE]": HELLO + USAGE + DONE,
    "without [DONE]": HELLO,
    "without the last blank line": HELLO + DONE.rstrip(b"\n"),
    "[DONE] with spaces": HELLO + b"data:   [DONE]  \n\n",
    "[DONE] twice": HELLO + DONE + DONE,
    "chunks after [DONE]": HELLO + DONE + event("late") + b"data: junk\n\n",
    "an error after [DONE]": HELLO + DONE + b'data: {"error": {}}\n\n',
    "a finish reason twice": HELLO + event(None, "length") + DONE,
    "words after the finish reason": HELLO + event("late") + DONE,
    "comments everywhere": b": a\n\n" + HELLO.replace(b"\n\n", b"\n\n: ping\n\n") + DONE,
    "some broken events": b"data: {broken\n\ndata: 5\n\n" + HELLO + DONE,
    "CRLF": (HELLO + DONE).replace(b"\n", b"\r\n"),
    "CR": (HELLO + DONE).replace(b"\n", b"\r"),
}


@pytest.mark.parametrize("case", ENDS_WELL)
def test_a_stream_that_ended_well_is_judged_so_and_says_the_same_however_it_is_cut(
    case: str,
) -> None:
    stream, draw = ENDS_WELL[case], random.Random(5)
    expected, found = run(stream)
    assert expected == "hello"
    found.require_finish()
    assert found.is_finished
    assert found.has_done_marker == (b"[DONE]" in stream)
    for size in [1, 2, 3, *(draw.randrange(4, 60) for _ in range(20))]:
        text, again = run(
            stream, lambda all_, size=size: [all_[i : i + size] for i in range(0, len(all_), size)]
        )
        again.require_finish()
        assert text == "hello"


CUT: dict[str, tuple[bytes, type[UpstreamError]]] = {
    "nothing at all": (b"", Disconnected),
    "only comments": (b": ping\n\n" * 3, Disconnected),
    "words without an end": (event("hel"), Disconnected),
    "half an event": (event("hel") + event(None, "stop")[:30], Disconnected),
    "[DONE] without a finish reason": (event("hel") + DONE, Disconnected),
    "[DONE] and nothing else": (DONE, Disconnected),
    "usage without a finish reason": (event("hel") + USAGE + DONE, Disconnected),
    "an error first": (b'data: {"error": {}}\n\n' + HELLO + DONE, RateLimited),
    "an error in the middle": (
        event("hel") + b'data: {"error": {}}\n\n' + HELLO + DONE,
        RateLimited,
    ),
    "one choice of two without an end": (
        event("a") + event("b", index=1) + event(None, "stop") + DONE,
        Disconnected,
    ),
    "too many broken events": (
        b"data: {broken\n\n" * (MOST_BROKEN_EVENTS + 1) + HELLO + DONE,
        BadResponse,
    ),
    "an endless event": (event("hel") + b"data: " + b"x" * 20_000, BadResponse),
    "an endless event of many lines": (event("hel") + b"data: xxxxxxxx\n" * 5_000, BadResponse),
}


@pytest.mark.parametrize("case", CUT)
def test_a_stream_that_did_not_finish_never_looks_finished(case: str) -> None:
    stream, expected = CUT[case]
    for size in (len(stream) or 1, 7):
        text, found = run(
            stream, lambda all_, size=size: [all_[i : i + size] for i in range(0, len(all_), size)]
        )
        with pytest.raises(UpstreamError) as caught:
            found.require_finish()
        assert type(caught.value) is expected
        assert "hello" not in text


def test_what_came_before_an_error_in_the_same_read_is_not_lost() -> None:
    text, found = run(event("hel") + b'data: {"error": {}}\n\n')
    assert text == "hel"
    assert found.is_over


def test_ten_broken_events_are_skipped_and_one_more_is_too_many() -> None:
    some = b"data: {broken\n\n" * MOST_BROKEN_EVENTS
    text, found = run(some + HELLO + DONE)
    found.require_finish()
    assert text == "hello"


def test_a_legacy_stream_is_judged_by_the_same_rules() -> None:
    found = reader(chat=False)
    choice = {"index": 0, "text": "a", "finish_reason": "length"}
    [chunk] = found.feed(b"data: %b\n\n" % orjson.dumps({"choices": [choice]}))
    found.require_finish()
    assert chunk["choices"] == [choice]


# --- large events ---------------------------------------------------------------------------------
async def test_a_large_event_is_read_beside_the_event_loop_and_says_the_same() -> None:
    threads: list[str] = []

    def read(data: bytes) -> Chunk | None:
        threads.append(threading.current_thread().name.partition("_")[0])
        return read_event(data)

    found = StreamReader(read, 10 * LARGE_EVENT_BYTES, chat=True)
    stream = event("x" * 3 * LARGE_EVENT_BYTES) + HELLO + DONE
    chunks: list[Chunk] = []
    for start in range(0, len(stream), 65_536):
        piece = stream[start : start + 65_536]
        chunks += (
            await found.feed_in_thread(piece)
            if found.ends_large_event(piece)
            else found.feed(piece)
        )
    assert (
        "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)[-8:]
        == "xxxhello"
    )
    found.require_finish()
    assert threads == ["events"] * 4  # what came in the same read too


def test_an_event_is_large_only_while_it_has_not_ended() -> None:
    found = reader(10 * LARGE_EVENT_BYTES)
    assert not found.ends_large_event(b"\n")
    found.feed(b"data: " + b"x" * LARGE_EVENT_BYTES)
    assert not found.ends_large_event(b"x")
    assert found.ends_large_event(b"\n\n")
    found.feed(b"\n\n" + HELLO)
    assert not found.ends_large_event(HELLO)


@pytest.mark.parametrize(
    "text", ["plain", 'quote " and \\ backslash', "\\u0041", "\u4f60\u597d", "\U0001f680"]
)
def test_escapes_in_any_text_are_read_as_what_they_mean(text: str) -> None:
    said = json.dumps(
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    )
    assert run(b"data: " + said.encode() + b"\n\n" + DONE)[0] == text


def test_halves_of_a_character_in_two_events_are_joined() -> None:
    halves = [
        f'data: {{"choices": [{{"index": 0, "delta": {{"content": "\\u{half}"}}}}]}}\n\n'
        for half in ("d83d", "de80")
    ]
    found = StreamReader(read_raw_json, 10_000, chat=True)
    chunks = found.feed("".join(halves).encode())
    assert (
        "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "\U0001f680"
    )
