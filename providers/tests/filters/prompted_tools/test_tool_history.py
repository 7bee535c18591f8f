"""Past calls and their results in words, for a model without tool calling."""

import json
from typing import Any

import pytest

from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.tests.filters.prompted_tools.tool_bodies import USER, rewrite_body


def make_call(name: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def rewrite_history(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rewrite_body(messages=list(messages), tools=None, **fields)[
        "messages"
    ]
    return found


def test_past_calls_become_text_that_reads_as_the_same_calls() -> None:
    nested = '{"city": {"a": ["}", "\\"", {"b": null}]}}'
    assistant = {
        "role": "assistant",
        "content": "Let me see.",
        "name": "Bob",
        "tool_calls": [make_call("weather", nested), make_call("clock", "", "call_2")],
    }
    (message,) = rewrite_history(assistant)
    assert message.keys() == {"role", "content", "name"}
    assert message["content"].startswith("Let me see.\n\n<tool_call>")
    assert '"id": "call_1"' in message["content"]
    assert '"id": "call_2"' in message["content"]
    scan = CallScanner({"weather": {}, "clock": {}})
    said, *calls = scan.feed(message["content"]) + scan.finish_text()
    assert said == "Let me see.\n\n"
    assert [
        (call.name, json.loads(call.arguments)) for call in calls if isinstance(call, WrittenCall)
    ] == [
        ("weather", json.loads(nested)),
        ("clock", {}),
    ]


@pytest.mark.parametrize("broken", ['{"city": ', "not JSON", "[1]", '"text"'])
def test_broken_arguments_of_the_past_stay_readable(broken: str) -> None:
    (message,) = rewrite_history(
        {"role": "assistant", "content": None, "tool_calls": [make_call("weather", broken)]}
    )
    inner = json.loads(message["content"].removeprefix("<tool_call>").removesuffix("</tool_call>"))
    assert inner == {"name": "weather", "arguments": broken, "id": "call_1"}


def test_a_result_bears_the_name_of_its_tool_and_its_id() -> None:
    first, second = rewrite_history(
        {"role": "assistant", "content": None, "tool_calls": [make_call("weather", "{}")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain, 7 °C"},
    )
    assert first["role"] == "assistant"
    assert second == {
        "role": "user",
        "content": '<tool_result name="weather" id="call_1">\nRain, 7 °C\n</tool_result>',
    }


def test_results_that_follow_each_other_are_one_message_in_their_order() -> None:
    messages = rewrite_history(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [make_call("weather", "{}", "a"), make_call("clock", "{}", "b")],
        },
        {"role": "tool", "tool_call_id": "b", "content": "noon"},
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        USER,
        {"role": "tool", "tool_call_id": "a", "content": "sun"},
    )
    assert [message["role"] for message in messages] == ["assistant", "user", "user", "user"]
    assert messages[1]["content"] == (
        '<tool_result name="clock" id="b">\nnoon\n</tool_result>\n\n'
        '<tool_result name="weather" id="a">\nrain\n</tool_result>'
    )
    assert messages[2] == USER
    assert "sun" in messages[3]["content"]


def test_an_id_that_is_used_again_means_the_last_call_before_its_result() -> None:
    messages = rewrite_history(
        {"role": "assistant", "content": None, "tool_calls": [make_call("weather", "{}", "a")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "assistant", "content": None, "tool_calls": [make_call("clock", "{}", "a")]},
        {"role": "tool", "tool_call_id": "a", "content": "2"},
    )
    assert 'name="weather"' in messages[1]["content"]
    assert 'name="clock"' in messages[3]["content"]


def test_a_result_without_its_call_is_kept() -> None:
    (message,) = rewrite_history({"role": "tool", "tool_call_id": "x", "content": "42"})
    assert message["content"] == '<tool_result name="unknown" id="x">\n42\n</tool_result>'


def test_calls_and_results_of_the_older_kind_are_told_too() -> None:
    first, second = rewrite_history(
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "weather", "arguments": '{"city":"Graz"}'},
        },
        {"role": "function", "name": "weather", "content": "rain"},
    )
    assert (
        first["content"]
        == '<tool_call>{"name": "weather", "arguments": {"city":"Graz"}}</tool_call>'
    )
    assert "function_call" not in first
    assert second["content"] == '<tool_result name="weather">\nrain\n</tool_result>'


def test_parts_of_a_result_become_text_and_images_stay() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    texts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    (plain,) = rewrite_history({"role": "tool", "tool_call_id": "x", "content": texts})
    assert "one\ntwo" in plain["content"]
    (mixed,) = rewrite_history(
        {"role": "tool", "tool_call_id": "x", "content": [*texts, image]},
        {"role": "tool", "tool_call_id": "y", "content": "three"},
    )
    assert image in mixed["content"]
    assert [part["type"] for part in mixed["content"]] == [
        "text",
        "text",
        "text",
        "image_url",
        "text",
        "text",
    ]
    assert "three" in mixed["content"][-1]["text"]


def test_an_assistants_parts_stay_before_its_calls() -> None:
    parts = [{"type": "text", "text": "Let me see."}]
    (message,) = rewrite_history(
        {"role": "assistant", "content": parts, "tool_calls": [make_call("clock", "{}")]}
    )
    assert message["content"][0] == parts[0]
    assert message["content"][1]["text"].startswith("<tool_call>")
