"""Chat bodies that say the same as a usual one in a form that upstreams refuse (F20, F26)."""

from typing import Any

import orjson
import pytest

from api.schemas.chat_normalizer import normalize_chat_body
from api.schemas.chat_request_body import read_request_body
from providers.exceptions import InvalidRequest
from providers.protocol.request import CHAT

HELLO = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CUSTOM = {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}}


def read(**fields: Any) -> dict[str, Any]:
    return read_request_body(CHAT, orjson.dumps({"model": "m", "messages": [HELLO]} | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"functions": [], "function_call": "none"},
        {"stop": []},
        {"modalities": []},
        {"logprobs": False, "top_logprobs": 0},
        {"top_logprobs": 0},
    ],
    ids=str,
)
def test_a_field_that_says_nothing_is_left_out(fields: dict[str, Any]) -> None:
    rest = {"logprobs": False} if "logprobs" in fields else {}
    assert read(**fields) == {"model": "m", "messages": [HELLO]} | rest


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "x", "tool_calls": []}, {"content": "x"}),
        ({"content": None, "tool_calls": []}, {"content": ""}),
        ({"tool_calls": []}, {"content": ""}),
        ({"reasoning_content": "hm", "tool_calls": []}, {"reasoning_content": "hm"}),
    ],
)
def test_an_empty_list_of_calls_is_left_out(
    message: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = read(messages=[HELLO, {"role": "assistant", **message}, HELLO])
    assert body["messages"] == [HELLO, {"role": "assistant", **expected}, HELLO]


def test_flat_tools_and_choices_are_nested() -> None:
    grammar = {"syntax": "regex", "definition": "x+"}
    flat = [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": None},
        {"type": "custom", "name": "g", "format": {"type": "text"}},
        {"type": "custom", "name": "h", "format": {"type": "grammar", **grammar}},
    ]
    body = read(tools=[*flat, TOOL], tool_choice={"type": "custom", "name": "g"})
    nested_grammar = {"name": "h", "format": {"type": "grammar", "grammar": grammar}}
    assert body["tools"] == [TOOL, CUSTOM, {"type": "custom", "custom": nested_grammar}, TOOL]
    assert body["tool_choice"] == {"type": "custom", "custom": {"name": "g"}}


def test_the_choice_of_a_custom_tool_is_looked_up_among_the_tools() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(tools=[CUSTOM], tool_choice={"type": "custom", "name": "other"})
    assert caught.value.param == "tool_choice"


def test_log_probabilities_that_are_asked_for_need_their_switch() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(logprobs=False, top_logprobs=1)
    assert caught.value.param == "top_logprobs"


def test_a_required_call_without_tools_is_still_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(tools=[], tool_choice="required")
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": [TOOL, CUSTOM, {"type": "x", "name": "y"}]}, {"stop": "x", "top_logprobs": 1}],
)
def test_a_usual_body_stays_the_same_object(fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [HELLO], "logprobs": True} | fields
    assert normalize_chat_body(body) is body
