"""Kimi's two web interfaces without I/O: transcripts as they come over the wire, histories,
headers, errors.
"""

import json
import random
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from providers import registry
from providers.exceptions import (
    AuthRejected,
    BadResponse,
    ModelMissing,
    RateLimited,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.models import ChatModel, ModelAlias, Provider
from providers.presets import PRESETS
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.tests.command_runner import run
from providers.tests.kimi_asking import QUESTION, TURNS, request_of
from providers.tests.kimi_site import (
    jwt,
)
from providers.upstream.stream_reader import DialectReader
from providers.upstream.web_chat import select_new_messages
from providers.wire import connect, kimi_common, sse
from providers.wire.kimi_rest_dialect import KimiRestAnswer as RestAnswer
from providers.wire.kimi_web_dialect import KimiWebAnswer as WebAnswer

CUTS = 1_000  # ways in which all transcripts together are cut
TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


# --- transcripts ----------------------------------------------------------------------------------
def wire_bytes(path: Path) -> bytes:
    if path.suffix == ".sse":
        return path.read_bytes()
    found = b""
    for line in path.read_text().splitlines():
        word, _, data = line.partition(" ")
        message = data.encode()
        found += struct.pack(">BI", 2 if word == "trailer" else 0, len(message)) + message
    return found


def said(path: Path, pieces: list[bytes], **fields: Any) -> dict[str, Any]:
    """What a caller gets of these bytes, and how the stream ended."""
    attempt = Attempt("p", "m")
    if path.suffix == ".sse":
        reader = DialectReader(
            RestAnswer(request_of(), attempt, "secret"), sse.EventSplitter(10_000)
        )
    else:
        reader = DialectReader(
            WebAnswer(request_of(), attempt, "secret"), connect.FrameSplitter(10_000)
        )
    chunks: list[Chunk] = []
    error = ""
    try:
        for piece in pieces:
            if not reader.is_over:
                chunks += reader.feed(piece)
        chunks += reader.read_last_event()
        reader.require_finish()
    except UpstreamError as raised:
        error = type(raised).__name__
    message: dict[str, Any] = {}
    finish = ""
    for chunk in chunks:
        choice = chunk["choices"][0]
        for name, value in choice["delta"].items():
            message[name] = (
                (message.get(name) or "") + value if name.endswith("content") and value else value
            )
        finish = choice["finish_reason"] or finish
    found = {
        "content": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or "",
    }
    text = found["content"]
    cited = [one["url_citation"] for one in message.get("annotations", ())]
    found["annotations"] = [
        [text[one["start_index"] : one["end_index"]], one["url"], one["title"]] for one in cited
    ]
    if error:
        return {**found, "error": error}
    return {**found, "finish": finish, "chat_id": attempt.chat_id, "parent_id": attempt.parent_id}


SPOKEN = sorted([*TRANSCRIPTS.glob("kimi_web/*.jsonl"), *TRANSCRIPTS.glob("kimi_rest/*.sse")])


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_a_transcript_means_what_stands_beside_it(path: Path) -> None:
    nothing = {"reasoning": "", "annotations": []}
    expected = nothing | json.loads(path.with_suffix(".json").read_text())
    if "error" not in expected:
        expected = {"chat_id": ""} | expected
    assert said(path, [wire_bytes(path)]) == expected


def test_every_transcript_means_the_same_wherever_it_is_cut() -> None:
    draw = random.Random(11)
    whole = [(path, data := wire_bytes(path), said(path, [data])) for path in SPOKEN]
    for turn in range(CUTS):
        path, data, expected = whole[turn % len(whole)]
        at = sorted(draw.randrange(len(data) + 1) for _ in range(1 + turn % 8))
        pieces = [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]
        assert said(path, pieces) == expected, (path, at)


@pytest.mark.parametrize(
    "path", [path for path in SPOKEN if path.suffix == ".jsonl"], ids=lambda path: path.stem
)
def test_frames_that_end_early_never_make_a_whole_answer(path: Path) -> None:
    data = wire_bytes(path)
    done = data.find(b'"done"')
    for kept in range(0, done if done > 0 else data.rfind(b"\x02\x00"), 7):
        assert "error" in said(path, [data[:kept]]), kept


# --- what the frames may say ----------------------------------------------------------------------
def web_read(*messages: bytes) -> list[Chunk]:
    answer = WebAnswer(request_of(), Attempt("p", "m"), "secret")
    return [chunk for message in messages for chunk in answer.read(message)]


def test_a_compressed_frame_is_an_error_because_none_was_offered() -> None:
    with pytest.raises(BadResponse):
        web_read(b"\x01" + b"\x1f\x8b")


@pytest.mark.parametrize("message", [b"\x00nonsense", b"\x00[]", b"\x007", b"\x00"])
def test_a_frame_that_is_no_object_is_unreadable(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        web_read(message)


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
            web_read(flag + data)
        assert raised.value.message
        assert "None" not in raised.value.message


def web_text(*blocks: dict[str, Any], op: str = "set") -> tuple[str, str]:
    """Content and thinking of these blocks."""
    chunks = web_read(
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
        web_read(b"\x00" + json.dumps(event).encode())


# --- a history as one text ------------------------------------------------------------------------
def test_a_single_question_goes_up_as_it_is_and_a_history_as_lines() -> None:
    assert kimi_common.render_chat_text([QUESTION]) == "How high is it?"
    assert kimi_common.render_chat_text(TURNS) == (
        "system: Be brief.\nuser: Hi.\nI am June.\nassistant: Hello June.\nuser: Who am I?"
    )
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "height", "arguments": '{"of":"it"}'},
    }
    tools = [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]}]
    tools.append({"role": "tool", "tool_call_id": "c1", "content": "8849"})
    assert kimi_common.render_chat_text(tools) == (
        'user: How high is it?\nassistant: (calls height with {"of":"it"})\ntool c1: 8849'
    )


def test_a_refusal_is_told_again() -> None:
    refusals = [
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]},
    ]
    assert kimi_common.render_chat_text(refusals) == "assistant: No.\nassistant: Never."


def test_the_new_turn_is_what_follows_the_models_last_answer() -> None:
    assert select_new_messages(TURNS) == TURNS[3:]
    assert select_new_messages(TURNS, with_system=True) == [TURNS[0], TURNS[3]]
    assert select_new_messages(TURNS[:2]) == TURNS[:2]
    assert select_new_messages(TURNS[:3]) == TURNS[2:3]


# --- headers --------------------------------------------------------------------------------------
def test_device_and_session_are_those_of_the_token() -> None:
    lines = kimi_common.build_header_lines(
        jwt(device_id="7123456789012345678", ssid="1123"), "https://www.example.com/x"
    )
    assert b"X-Msh-Device-Id: 7123456789012345678\r\n" in lines
    assert b"X-Msh-Session-Id: 1123\r\n" in lines
    assert b"X-Traffic-Id: user-june\r\n" in lines
    assert b"Origin: https://www.example.com\r\n" in lines


@pytest.mark.parametrize("evil", ["1\r\nX-Evil: 1", "", 7, None, "a b", "é", "x" * 300], ids=ascii)
def test_a_claim_that_no_header_can_carry_is_left_out(evil: Any) -> None:
    secret = jwt(device_id=evil, ssid=evil, sub=evil)
    lines = kimi_common.build_header_lines(secret, "https://www.example.com")
    assert b"Evil" not in lines
    assert b"X-Traffic-Id" not in lines
    assert all(line.count(b": ") == 1 for line in lines.split(b"\r\n")[:-1])
    assert lines == kimi_common.build_header_lines(secret, "https://www.example.com")


@pytest.mark.parametrize("name", ["kimi-web", "kimi-rest"])
def test_the_presets_are_unofficial_like_their_adapters(name: str) -> None:
    preset = PRESETS[name]
    adapter = registry.get_adapter_class(preset.kind)
    assert (preset.is_official, adapter.is_official) == (False, False)
    assert adapter.has_single_stream
    assert adapter.can_refresh
    assert "unofficial" in adapter.label
    assert {"k2", "k1.5"} <= {model["public_id"] for model in preset.models}


@pytest.mark.django_db
def test_unofficial_upstreams_are_seeded_only_when_they_are_named() -> None:
    run("seed_providers")
    assert not Provider.objects.filter(kind__startswith="kimi_").exclude(kind="kimi_code").exists()
    run("seed_providers", "kimi-web", "kimi-rest")
    for kind in ("kimi_web", "kimi_rest"):
        Provider.objects.get(kind=kind).full_clean()
    for row in [
        *ChatModel.objects.filter(provider__kind__startswith="kimi_"),
        *ModelAlias.objects.all(),
    ]:
        row.full_clean()
    found = dict(ModelAlias.objects.filter(alias__startswith="k").values_list("alias", "search"))
    assert found == {
        "k2-search": "on",
        "k2-nosearch": "off",
        "k1.5-search": "on",
        "k1.5-nosearch": "off",
        "k2-thinking-nosearch": "off",
    }


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
