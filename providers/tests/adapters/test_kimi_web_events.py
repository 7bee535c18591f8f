"""The events that Kimi's web interfaces send: text, thinking, errors, and any other shape."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from providers.exceptions import (
    AuthRejected,
    BadResponse,
    ModelMissing,
    RateLimited,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.tests.kimi_asking import request_of
from providers.wire.kimi_rest_dialect import KimiRestAnswer as RestAnswer
from providers.wire.kimi_web_dialect import KimiWebAnswer as WebAnswer


def read_frames(*messages: bytes) -> list[Chunk]:
    answer = WebAnswer(request_of(), Attempt("p", "m"), "secret")
    return [chunk for message in messages for chunk in answer.read(message)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("One & two; three", "One &amp; two; three, four"), "One & two; three, four"),
        (("He says “Hi”", "He says “Hi there”"), "He says “Hi” there”"),
        (("One", "Two", "Two!"), "One!"),
    ],
)
def test_a_rewritten_text_goes_on_behind_the_text_that_was_sent(
    texts: tuple[str, ...], expected: str
) -> None:
    events = [
        {"op": "set", "mask": "block.text", "block": {"id": "b1", "text": {"content": text}}}
        for text in texts
    ]
    chunks = read_frames(*(b"\x00" + json.dumps(event).encode() for event in events))
    contents = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(contents) == expected


def test_a_compressed_frame_is_an_error_because_none_was_offered() -> None:
    with pytest.raises(BadResponse):
        read_frames(b"\x01" + b"\x1f\x8b")


@pytest.mark.parametrize("message", [b"\x00nonsense", b"\x00[]", b"\x007", b"\x00"])
def test_a_frame_that_is_no_object_is_unreadable(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_frames(message)


@pytest.mark.parametrize(
    "event",
    [
        {"block": None, "chat": 5, "message": []},
        {"op": "set", "mask": "block.text", "block": {"id": "1", "text": {"content": None}}},
        {
            "op": "append",
            "block": {
                "text": "x",
                "think": 7,
                "tool": {"contents": ["x", None, {"searchResult": 3}]},
            },
        },
        {"block": {"multiStage": {"stages": [None, "x", {"name": 3}]}, "stage": "x"}},
        {"message": {"role": "assistant", "id": "../../evil", "refs": {"searchChunks": {"a": 1}}}},
        {"chat": {"id": "a/b?c"}, "error": None},
        {"block": {"id": [], "text": {"content": ""}}},
    ],
    ids=str,
)
def test_events_of_another_shape_are_ignored(event: dict[str, Any]) -> None:
    attempt = Attempt("p", "m")
    assert (
        WebAnswer(request_of(), attempt, "secret").read(b"\x00" + json.dumps(event).encode()) == []
    )
    assert (attempt.chat_id, attempt.parent_id) == ("", "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "unauthenticated"}, AuthRejected),
        ({"code": "resource_exhausted", "message": "Slow down."}, RateLimited),
        (
            {"code": "unknown", "details": [{"debug": {"reason": "chat.user_stream_pushing"}}]},
            RateLimited,
        ),
        ({"code": "invalid_argument", "message": "Too long."}, Rejected),
        ({"code": "not_found"}, ModelMissing),
        ({"code": "unavailable"}, ServerFailed),
        ({"code": "something_new"}, ServerFailed),
        ({}, ServerFailed),
        ("text", ServerFailed),
    ],
)
def test_an_error_in_the_trailer_or_an_event_is_what_it_says(
    error: Any, expected: type[UpstreamError]
) -> None:
    data = json.dumps({"error": error}).encode()
    for flag in (b"\x00", b"\x02"):
        with pytest.raises(expected) as raised:
            read_frames(flag + data)
        assert raised.value.message
        assert "None" not in raised.value.message


def web_text(*blocks: dict[str, Any], op: str = "set") -> tuple[str, str]:
    """Content and thinking of these blocks."""
    chunks = read_frames(
        *(b"\x00" + json.dumps({"op": op, "block": block}).encode() for block in blocks)
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    content, thinking = (
        "".join(one.get(name, "") for one in deltas) for name in ("content", "reasoning_content")
    )
    return content, thinking


def stage(status: str) -> dict[str, Any]:
    return {"multiStage": {"stages": [{"name": "STAGE_NAME_THINKING", "status": status}]}}


@pytest.mark.parametrize("status", ["", "running", "STAGE_STATUS_START", "STAGE_STATUS_PENDING"])
def test_text_of_a_stage_that_thinks_is_thinking(status: str) -> None:
    assert web_text(stage(status), {"id": "1", "text": {"content": "Hm."}}) == ("", "Hm.")


@pytest.mark.parametrize(
    "status", ["completed", "STAGE_STATUS_END", "STAGE_STATUS_FINISHED", "done"]
)
def test_text_after_the_stage_that_thinks_is_the_answer(status: str) -> None:
    assert web_text(stage("running"), stage(status), {"id": "1", "text": {"content": "Yes."}}) == (
        "Yes.",
        "",
    )


def test_where_thinking_has_a_block_of_its_own_text_is_the_answer() -> None:
    blocks = (
        stage("running"),
        {"id": "1", "think": {"content": "Hm."}},
        {"id": "2", "text": {"content": "Yes."}},
    )
    assert web_text(*blocks) == ("Yes.", "Hm.")


def test_a_text_that_is_set_again_says_only_what_is_new() -> None:
    texts = ("One, two", "One", "One, two", "Other", "One, two, three", "Other, new")
    assert web_text(*({"id": "1", "text": {"content": text}} for text in texts[:3])) == (
        "One, two",
        "",
    )
    assert web_text(*({"id": "1", "text": {"content": text}} for text in (texts[1], texts[4]))) == (
        texts[4],
        "",
    )


def test_a_block_that_reports_an_exception_is_an_error() -> None:
    event = {"block": {"exception": {"error": {"reason": "REASON_COMPLETION_OVERLOADED"}}}}
    with pytest.raises(ServerFailed):
        read_frames(b"\x00" + json.dumps(event).encode())


# --- whatever the site sends ----------------------------------------------------------------------
NAMES = """
    event op mask block id text content think flags multiStage stages stage name status tool
    contents searchResult base url title refIndex message role refs searchChunks chat error code
    details debug reason done exception zone_type msg type error_type
""".split()
WORDS = [
    "set",
    "append",
    "cmpl",
    "k1",
    "length",
    "error",
    "search_plus",
    "get_res",
    "STAGE_NAME_THINKING",
    "assistant",
]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([*WORDS, "", "x", "\ue3a0cite\ue3a31\ue3a8"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), JUNK, max_size=6), max_size=5), st.booleans()
)
def test_any_event_is_read_or_is_an_error_of_the_upstream(
    events: list[dict[str, Any]], present: bool
) -> None:
    answer = (WebAnswer if present else RestAnswer)(request_of(), Attempt("p", "m"), "secret")
    head = b"\x00" if present else b""
    with suppress(UpstreamError, ValueError):
        for event in events:
            for chunk in answer.read(head + json.dumps(event).encode()):
                ChatCompletionChunk.model_validate(chunk)
        answer.close()
