"""Relayed events: passed on with their names, however the bytes are cut."""

import json
from typing import Any

import pytest

from providers.exceptions import BadResponse, Disconnected
from providers.relayed.answer_events import EventRelay, render_event

DELTA = {"type": "transcript.text.delta", "delta": "Grüße\u2028"}
FINAL = {"type": "transcript.text.done", "text": "Grüße", "usage": {"input_tokens": 3}}
PARTIAL = {"type": "image_generation.partial_image", "b64_json": "AA"}
IMAGE = {"type": "image_generation.completed", "b64_json": "AAAA"}


def encode(*events: Any, line_end: str = "\n") -> bytes:
    """Return events as an upstream sends them."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}{line_end}{line_end}" for text in texts).encode()


def relay_pieces(*pieces: bytes) -> tuple[bytes, EventRelay]:
    """Return what is passed on of these pieces."""
    relay = EventRelay("m", 1_000)
    events = [event for piece in pieces for event in relay.feed(piece)]
    return b"".join(map(render_event, [*events, *relay.read_end()])), relay


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_stream_is_the_same_for_every_cut(line_end: str) -> None:
    data = b": a comment\n\n" + encode(DELTA, FINAL, "[DONE]", line_end=line_end)
    whole, _ = relay_pieces(data)
    assert whole.startswith(b"event: transcript.text.delta\ndata: {")
    assert whole.endswith(b"data: [DONE]\n\n")
    for cut in range(len(data)):
        assert relay_pieces(data[:cut], data[cut:])[0] == whole


@pytest.mark.parametrize("last", [FINAL, IMAGE, "[DONE]"])
def test_a_closing_event_ends_a_stream(last: Any) -> None:
    relay_pieces(encode(DELTA, last))
    relay_pieces(encode(DELTA, last).rstrip())  # its blank line may be missing
    with pytest.raises(Disconnected):
        relay_pieces(encode(DELTA))
    with pytest.raises(Disconnected):
        relay_pieces()


def test_completed_images_are_counted() -> None:
    _, relay = relay_pieces(encode(PARTIAL, IMAGE, PARTIAL, IMAGE))
    assert relay.image_count == 2


def test_the_callers_name_of_the_model_takes_the_place_of_the_upstreams() -> None:
    passed, _ = relay_pieces(encode({"model": "secret", "choices": []}, "[DONE]"))
    assert json.loads(passed.split(b"\n")[0].removeprefix(b"data: ")) == {
        "model": "m",
        "choices": [],
    }


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "broken"}},
        {"error": "broken"},
        {"type": "error", "error": {"message": "broken"}},
        {"type": "error", "message": "broken"},
    ],
)
def test_an_error_is_found_in_every_form(event: Any) -> None:
    (found,) = EventRelay("m", 1_000).feed(encode(event))
    assert found.error is not None
    assert found.error["message"] == "broken"


@pytest.mark.parametrize("text", ["", "no json", "[1]", '"text"', "{", '{"type": 5}', "\xff"])
def test_what_is_no_event_of_ours_is_passed_on(text: str) -> None:
    passed, _ = relay_pieces(encode(text, "[DONE]"))
    assert passed == encode(text, "[DONE]")


def test_an_event_has_a_largest_size() -> None:
    with pytest.raises(BadResponse):
        relay_pieces(b"data: " + b"x" * 2_000)


def test_a_type_that_no_line_can_carry_is_no_name() -> None:
    passed, _ = relay_pieces(encode({"type": "a\ndata: b"}, "[DONE]"))
    assert passed.startswith(b"data: {")
