"""What is no text, no call and no proper index in an upstream's answer."""

import copy
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.filters.conform import StreamConformer, conform_answer

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
ODD_TEXTS = [
    (42, "42"),
    (1.5, "1.5"),
    (True, None),
    (["x"], "x"),
    ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
    ({"type": "text", "text": "a"}, "a"),
    ({"a": 1}, None),
    ([1, None], None),
    ([], None),
]


def streamed(*choices: dict[str, Any]) -> list[dict[str, Any]]:
    conformer = StreamConformer()
    chunks = [
        HEAD | {"choices": [{"index": 0, "finish_reason": None} | choice]}
        for choice in copy.deepcopy(choices)
    ]
    return [found for chunk in chunks if (found := conformer.conform_chunk(chunk)) is not None]


def call(index: Any, **fields: Any) -> dict[str, Any]:
    function = {name: fields[name] for name in ("name", "arguments") if name in fields}
    return {
        "delta": {"tool_calls": [{"index": index, "function": function, "id": fields.get("id")}]}
    }


@pytest.mark.parametrize(("given", "text"), ODD_TEXTS, ids=str)
@pytest.mark.parametrize("field", ["content", "reasoning_content", "refusal"])
def test_a_text_that_is_none_becomes_one_or_nothing(
    field: str, given: Any, text: str | None
) -> None:
    (first, second) = streamed({"delta": {field: given}}, {"delta": {field: given}})
    for chunk in (first, second):
        assert chunk["choices"][0]["delta"][field] == text
        ChatCompletionChunk.model_validate(chunk)
    message = {"role": "assistant", "content": "c"} | {field: given}
    found = conform_answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    assert found["choices"][0]["message"][field] == text


@pytest.mark.parametrize("given", [42, ["x"], None, {"a": 1}], ids=str)
def test_a_legacy_text_is_a_text(given: Any) -> None:
    conformer = StreamConformer(is_chat=False)
    found = conformer.conform_chunk(
        {"choices": [{"index": 0, "text": given, "finish_reason": None}]}
    )
    assert found is not None
    assert isinstance(found["choices"][0]["text"], str)


@pytest.mark.parametrize("index", [10**18, -1, 7, "x", 1.5, True, None], ids=str)
def test_calls_are_numbered_without_gaps_whatever_index_they_have(index: Any) -> None:
    chunks = streamed(
        call(index, id="a", name="f", arguments='{"x":'),
        call(index, arguments="1}"),
        {"delta": {}, "finish_reason": "tool_calls"},
    )
    state = ChatCompletionStreamState()
    for chunk in chunks:
        list(state.handle_chunk(ChatCompletionChunk.model_validate(chunk)))
    made = state.get_final_completion().choices[0].message.tool_calls
    assert made is not None
    assert [(one.id, one.function.name, one.function.arguments) for one in made] == [
        ("a", "f", '{"x":1}')
    ]


def test_a_call_that_never_gets_a_name_leaves_no_gap() -> None:
    chunks = streamed(call(0, arguments="{}"), call(1, id="b", name="g", arguments="{}"))
    (part,) = [
        part for chunk in chunks for part in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert (part["index"], part["id"]) == (0, "b")


@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "tool_use"])
@pytest.mark.parametrize("calls", [None, 5, [], ["x"], [{"index": 0, "function": 7}]], ids=str)
def test_an_answer_whose_calls_were_all_dropped_just_stopped(reason: str, calls: Any) -> None:
    said = {"tool_calls": calls, "function_call": 5}
    chunks = streamed({"delta": {"content": "x"} | said}, {"delta": {}, "finish_reason": reason})
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert "function_call" not in chunks[0]["choices"][0]["delta"]
    message = {"role": "assistant", "content": "x"} | said
    found = conform_answer(
        {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
        | {"id": "c", "model": "m"}
    )
    assert found["choices"][0]["finish_reason"] == "stop"
    ChatCompletion.model_validate(found | {"created": 1})


def test_an_answer_with_calls_keeps_its_reason() -> None:
    chunks = streamed(call(0, id="a", name="f"), {"delta": {}, "finish_reason": "tool_calls"})
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    legacy = {"function_call": {"name": "f", "arguments": "{}"}}
    chunks = streamed({"delta": legacy}, {"delta": {}, "finish_reason": "function_call"})
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_many_calls_cost_no_more_each_than_few() -> None:
    """Each part without an index is looked up, not searched for."""
    parts = [
        call(None, id=f"c{number}", name="f")["delta"]["tool_calls"][0] for number in range(20_000)
    ]
    (chunk,) = streamed({"delta": {"tool_calls": parts}})
    made = chunk["choices"][0]["delta"]["tool_calls"]
    assert [part["index"] for part in made] == list(range(20_000))
