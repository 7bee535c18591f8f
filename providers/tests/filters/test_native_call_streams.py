"""Streams of native calls as upstreams really send them, and whole answers that say the same."""

import copy
import json
from typing import Any

import pytest

from providers.filters.answer_folder import fold_answer
from providers.filters.conform import StreamConformer, conform_answer
from providers.filters.finish_reasons import is_call_forced, normalize_finish_reason
from providers.protocol.chunks import Chunk
from providers.tests.filters.conforming import HEAD, join_message, make_answer, make_chunk

EXTRA = {"google": {"thought_signature": "c2ln"}}


def call(index: int | None, call_id: str | None, name: str | None, text: str = "") -> Chunk:
    """Make a chunk with one part of a function call."""
    function: dict[str, Any] = {"arguments": text}
    if name is not None:
        function["name"] = name
    part = {"index": index, "id": call_id, "function": function}
    return make_chunk(
        {"tool_calls": [{key: value for key, value in part.items() if value is not None}]}
    )


def conform(*chunks: Chunk, allows_stop: bool = False) -> list[Chunk]:
    conformer = StreamConformer(allows_stop_with_calls=allows_stop)
    outputs = [conformer.conform_chunk(chunk) for chunk in copy.deepcopy(chunks)]
    return [chunk for chunk in outputs if chunk is not None]


def read_calls(*chunks: Chunk) -> list[tuple[str, str, str]]:
    """The calls that OpenAI's client sees, which must be those of the folded answer, too."""
    stream = conform(*chunks, make_chunk({}, "tool_calls"))
    calls = [
        (found.id, found.function.name, found.function.arguments)
        for found in join_message(stream).tool_calls or ()
    ]
    message = fold_answer(stream)["choices"][0]["message"]
    folded = [
        (part["id"], part["function"]["name"], part["function"]["arguments"])
        for part in message.get("tool_calls", ())
    ]
    assert folded == calls
    return calls


# --- two calls at one index -----------------------------------------------------------------------
BOTH = [("c1", "a", '{"x": 1}'), ("c2", "b", '{"y": 2}')]


def test_another_id_at_a_known_index_is_another_call() -> None:
    assert read_calls(call(0, "c1", "a", '{"x": 1}'), call(0, "c2", "b", '{"y": 2}')) == BOTH


def test_calls_at_one_index_may_come_in_pieces() -> None:
    assert (
        read_calls(
            call(0, "c1", "a"),
            call(0, None, None, '{"x"'),
            call(0, None, None, ": 1}"),
            call(0, "c2", "b"),
            call(0, None, None, '{"y"'),
            call(0, None, None, ": 2}"),
        )
        == BOTH
    )


def test_a_name_after_complete_arguments_is_another_call() -> None:
    calls = read_calls(call(0, None, "a", '{"x": 1}'), call(0, None, "b", '{"y": 2}'))
    assert [part[1:] for part in calls] == [("a", '{"x": 1}'), ("b", '{"y": 2}')]
    assert len({part[0] for part in calls}) == 2


def test_the_same_tool_may_be_called_twice_at_one_index() -> None:
    whole = read_calls(call(0, None, "a", '{"x": 1}'), call(0, None, "a", '{"x": 2}'))
    assert [part[1:] for part in whole] == [("a", '{"x": 1}'), ("a", '{"x": 2}')]
    pieces = read_calls(
        call(0, None, "a", '{"x": 1}'), call(0, None, "a"), call(0, None, None, '{"x": 2}')
    )
    assert [part[1:] for part in pieces] == [("a", '{"x": 1}'), ("a", '{"x": 2}')]


def test_an_id_may_come_before_its_name_at_a_known_index() -> None:
    part = make_chunk({"tool_calls": [{"index": 0, "id": "c2", "type": "function"}]})
    assert read_calls(call(0, "c1", "a", '{"x": 1}'), part, call(0, None, "b", '{"y": 2}')) == BOTH


@pytest.mark.parametrize(
    ("call_id", "name"), [("c1", "a"), (None, "a"), ("x", None), ("", ""), ("c1", None)]
)
def test_a_repeated_name_or_id_begins_no_call(call_id: str | None, name: str | None) -> None:
    assert read_calls(
        call(0, "c1", "a", '{"x"'), call(0, call_id, name, ": 1}"), call(0, call_id, name)
    ) == [("c1", "a", '{"x": 1}')]


@pytest.mark.parametrize("indexes", [(1, 2), (5, 3), (0, 7)])
def test_indexes_are_numbered_anew_from_0(indexes: tuple[int, int]) -> None:
    stream = conform(
        call(indexes[0], "c1", "a", '{"x": 1}'), call(indexes[1], "c2", "b", '{"y": 2}')
    )
    parts = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in stream]
    assert [(part["index"], part["id"]) for part in parts] == [(0, "c1"), (1, "c2")]


# --- no arguments, no name ------------------------------------------------------------------------
def test_a_call_without_arguments_gets_an_empty_object_before_the_finish() -> None:
    stream = conform(call(0, "c1", "a"), call(1, "c2", "b", "{}"), make_chunk({}, "tool_calls"))
    assert stream[-1]["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "function": {"arguments": "{}"}}
    ]
    assert read_calls(call(0, "c1", "a")) == [("c1", "a", "{}")]
    assert read_calls(call(0, "c1", "a"), call(0, "c2", "b")) == [
        ("c1", "a", "{}"),
        ("c2", "b", "{}"),
    ]


@pytest.mark.parametrize("name", [None, "", 5])
def test_a_call_that_never_gets_a_name_is_dropped_with_its_finish_reason(name: Any) -> None:
    function = {"name": name, "arguments": '{"x": 1}'}
    part = {"index": 0, "id": "c1", "type": "function", "function": function}
    stream = conform(make_chunk({"tool_calls": [part]}), make_chunk({}, "tool_calls"))
    assert "tool_calls" not in stream[0]["choices"][0]["delta"]
    assert stream[-1]["choices"][0]["finish_reason"] == "stop"
    whole = conform_answer(make_answer({"tool_calls": [part]}, finish_reason="tool_calls"))
    assert "tool_calls" not in whole["choices"][0]["message"]
    assert whole["choices"][0]["finish_reason"] == "stop"


def test_a_nameless_call_beside_a_named_one_leaves_no_gap() -> None:
    assert read_calls(call(0, "c1", None, "{}"), call(1, "c2", "b", '{"y": 2}')) == [BOTH[1]]


# --- finish reasons -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reason", "allows_stop", "expected"),
    [
        ("stop", False, "tool_calls"),
        ("stop", True, "stop"),
        ("tool_calls", True, "tool_calls"),
        ("length", False, "length"),
        ("content_filter", False, "content_filter"),
        ("eos", False, "tool_calls"),
    ],
)
def test_a_stop_with_calls_names_them_unless_the_call_was_forced(
    reason: str, allows_stop: bool, expected: str
) -> None:
    stream = conform(call(0, "c1", "a", "{}"), make_chunk({}, reason), allows_stop=allows_stop)
    assert stream[-1]["choices"][0]["finish_reason"] == expected
    message = {"tool_calls": [{"id": "c1", "function": {"name": "a", "arguments": "{}"}}]}
    whole = conform_answer(
        make_answer(message, finish_reason=reason), allows_stop_with_calls=allows_stop
    )
    assert whole["choices"][0]["finish_reason"] == expected


def test_a_whole_answer_with_calls_and_no_reason_names_them() -> None:
    message = {"tool_calls": [{"id": "c1", "function": {"name": "a"}}]}
    whole = conform_answer(make_answer(message, finish_reason=None), allows_stop_with_calls=False)
    assert whole["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "a"}}}, True),
        ({"function_call": {"name": "a"}}, True),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, False),
        ({"tool_choice": "required"}, False),
        ({"tool_choice": "auto"}, False),
        ({}, False),
    ],
)
def test_only_a_named_function_is_a_forced_call(body: dict[str, Any], expected: bool) -> None:
    assert is_call_forced(body) is expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("network_error", None),
        ("MALFORMED_FUNCTION_CALL", None),
        ("model_context_window_exceeded", "length"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("RECITATION", "content_filter"),
        ("SPII", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
    ],
)
def test_reasons_of_other_upstreams_become_documented_ones(
    reason: str, expected: str | None
) -> None:
    assert normalize_finish_reason(reason) == expected


# --- fields that pass -----------------------------------------------------------------------------
def test_a_custom_call_passes_streamed_and_whole() -> None:
    first = {"index": 4, "id": "c1", "type": "custom", "custom": {"name": "code", "input": ""}}
    stream = conform(
        make_chunk({"tool_calls": [first]}),
        make_chunk({"tool_calls": [{"index": 4, "custom": {"input": "print("}}]}),
        make_chunk({"tool_calls": [{"index": 4, "custom": {"input": "1)"}}]}),
        make_chunk({}, "tool_calls"),
    )
    parts = [
        part for chunk in stream for part in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert parts == [
        first | {"index": 0},
        {"index": 0, "custom": {"input": "print("}},
        {"index": 0, "custom": {"input": "1)"}},
    ]
    expected = {"id": "c1", "type": "custom", "custom": {"name": "code", "input": "print(1)"}}
    folded = fold_answer(stream)["choices"][0]
    assert folded["message"]["tool_calls"] == [expected]
    assert folded["finish_reason"] == "tool_calls"
    whole = conform_answer(make_answer({"tool_calls": [expected]}, finish_reason="tool_calls"))
    assert whole["choices"][0]["message"]["tool_calls"] == [expected]


def test_a_part_without_a_function_keeps_its_fields_and_gets_its_index() -> None:
    trailing = make_chunk({"tool_calls": [{"index": 3, "extra_content": EXTRA}]})
    stream = conform(call(3, "c1", "a", "{}"), trailing, make_chunk({}, "tool_calls"))
    assert stream[1]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "extra_content": EXTRA}]
    [folded] = fold_answer(stream)["choices"][0]["message"]["tool_calls"]
    assert folded["extra_content"] == EXTRA
    assert folded["function"] == {"name": "a", "arguments": "{}"}


def test_fields_that_come_before_the_name_come_with_it() -> None:
    early = make_chunk({"tool_calls": [{"index": 0, "id": "c1", "extra_content": EXTRA}]})
    stream = conform(early, call(0, None, "a", "{}"), make_chunk({}, "tool_calls"))
    [part] = stream[1]["choices"][0]["delta"]["tool_calls"]
    assert (part["id"], part["extra_content"]) == ("c1", EXTRA)


def test_pieces_of_reasoning_details_are_folded_into_details() -> None:
    def details(*pieces: dict[str, Any]) -> Chunk:
        return make_chunk({"reasoning_details": list(pieces)})

    text = {"type": "reasoning.text", "index": 0}
    secret = {"type": "reasoning.encrypted", "data": "x", "index": 1}
    stream = conform(
        details(text | {"text": "I "}),
        details(text | {"text": "think"}),
        details(text | {"signature": "s"}),
        details(secret),
        make_chunk({}, "stop"),
    )
    message = fold_answer(stream)["choices"][0]["message"]
    assert message["reasoning_details"] == [text | {"text": "I think", "signature": "s"}, secret]


def test_a_message_beside_a_delta_does_not_pass() -> None:
    chunk = make_chunk({"role": "assistant", "content": "h"})
    chunk["choices"][0]["message"] = {"role": "assistant", "content": "h"}
    later = make_chunk({"role": "assistant", "content": "i"})
    later["choices"][0]["message"] = {"role": "assistant", "content": "hi"}
    stream = conform(chunk, later)
    assert not any("message" in chunk["choices"][0] for chunk in stream)
    assert [chunk["choices"][0]["delta"]["content"] for chunk in stream] == ["h", "i"]


def test_a_whole_message_in_a_stream_is_its_text() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}}
    stream = conform({**HEAD, "choices": [choice | {"finish_reason": "stop"}]})
    assert stream[0]["choices"][0]["delta"]["content"] == "hi"
    assert stream[0]["choices"][0]["finish_reason"] == "stop"


def test_the_parts_of_a_call_are_json_of_their_own() -> None:
    stream = conform(call(0, "c1", "a"), make_chunk({}, "stop"))
    assert json.loads(json.dumps(stream)) == stream
