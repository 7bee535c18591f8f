from typing import Any

import orjson
import pytest

from api.responses.request import schema
from api.responses.request.to_chat import build_chat_body, build_input_messages
from api.schemas import chat_request_body
from providers.exceptions import InvalidRequest
from providers.protocol.request import CHAT

FUNCTION = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object"},
    "strict": True,
    "description": "d",
}
OTHER = {"type": "function", "name": "g", "parameters": None}
NESTED = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
}
WHERE = {"type": "approximate", "city": "Kyiv", "country": "UA"}
SEARCH = {"type": "web_search", "search_context_size": "low", "user_location": WHERE}


def asked(*earlier: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What goes upstream; it must be a body that the door of chat completions takes."""
    body = schema.read_response_body(orjson.dumps({"model": "m", "input": "hi"} | fields))
    found = build_chat_body(body, [*earlier, *build_input_messages(body)])
    return chat_request_body.read_request_body(CHAT, orjson.dumps(found))


def test_a_text_is_the_user_message() -> None:
    assert asked() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_instructions_come_first_then_earlier_turns_then_the_input() -> None:
    earlier = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    found = asked(*earlier, instructions="be brief")["messages"]
    assert [message["content"] for message in found] == ["be brief", "one", "two", "hi"]
    assert found[0]["role"] == "system"


def test_items_become_messages_with_their_calls_and_outputs() -> None:
    given = [
        {"role": "developer", "content": "rules"},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_file", "file_id": "file-1"},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "c1",
            "name": "f",
            "arguments": '{"a":1}',
        },
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
    ]
    system, user, assistant, tool = asked(input=given, tools=[FUNCTION])["messages"]
    assert system == {"role": "developer", "content": "rules"}
    assert [part["type"] for part in user["content"]] == [
        "text",
        "image_url",
        "file",
        "input_audio",
    ]
    assert user["content"][1]["image_url"] == {"url": "data:image/png;base64,AA==", "detail": "low"}
    assert user["content"][2]["file"] == {"file_id": "file-1"}
    assert assistant["reasoning_content"] == "hm"
    assert assistant["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "3"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 50}, {"max_tokens": 50}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": None}}, {}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "n",
                        "schema": {"type": "object"},
                        "strict": True,
                    }
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 0}, {}),
        (
            {"temperature": 0, "top_p": 0.5, "user": "u"},
            {"temperature": 0, "top_p": 0.5, "user": "u"},
        ),
        (
            {"service_tier": "flex", "prompt_cache_key": "k"},
            {"service_tier": "flex", "prompt_cache_key": "k"},
        ),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, {"stream": True}),
        ({"seed": 5, "vendor": {"a": 1}}, {"seed": 5}),
        ({"metadata": {"a": "b"}, "store": True, "truncation": "auto", "max_tool_calls": 2}, {}),
        ({"conversation": "conv_1", "background": True}, {}),
        ({"previous_response_id": "resp_1"}, {}),
        ({"parallel_tool_calls": False, "tool_choice": "auto"}, {}),
    ],
)
def test_a_field_goes_up_as_a_chat_completion_has_it(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = asked(**fields)
    del found["model"], found["messages"]
    assert found == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [FUNCTION]}, {"tools": [NESTED]}),
        (
            {"tools": [FUNCTION], "parallel_tool_calls": False, "tool_choice": "required"},
            {"tools": [NESTED], "parallel_tool_calls": False, "tool_choice": "required"},
        ),
        (
            {"tools": [FUNCTION, OTHER], "tool_choice": {"type": "function", "name": "g"}},
            {
                "tools": [NESTED, {"type": "function", "function": {"name": "g"}}],
                "tool_choice": {"type": "function", "function": {"name": "g"}},
            },
        ),
        (
            {
                "tools": [OTHER, FUNCTION, SEARCH],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "f"}],
                },
            },
            {"tools": [NESTED], "tool_choice": "required"},
        ),
        (
            {"tools": [SEARCH], "tool_choice": "required"},
            {
                "web_search_options": {
                    "search_context_size": "low",
                    "user_location": {
                        "type": "approximate",
                        "approximate": {"city": "Kyiv", "country": "UA"},
                    },
                }
            },
        ),
        ({"tools": [{"type": "web_search_preview"}], "tool_choice": "none"}, {}),
        (
            {
                "tools": [{"type": "web_search_preview"}, FUNCTION],
                "tool_choice": {"type": "web_search_preview"},
            },
            {"tools": [NESTED], "web_search_options": {}},
        ),
    ],
)
def test_tools_go_up_as_a_chat_completion_has_them(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = asked(**fields)
    del found["model"], found["messages"]
    assert found == expected


def calling(*ids: str) -> list[dict[str, Any]]:
    return [
        {"type": "function_call", "call_id": one, "name": "f", "arguments": "{}"} for one in ids
    ]


def result(call_id: str, output: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def told(*items: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [
        (message["role"], message.get("content"))
        for message in asked(input=list(items))["messages"]
    ]


def test_what_a_tool_answered_stands_right_behind_its_call() -> None:
    question = {"role": "user", "content": "And?"}
    assert told(*calling("a", "b"), question, result("b", "2"), result("a", "1")) == [
        ("assistant", None),
        ("tool", "1"),
        ("tool", "2"),
        ("user", "And?"),
    ]


def test_ids_of_calls_that_come_again_belong_to_the_latest_call() -> None:
    again = [
        *calling("a"),
        result("a", "1"),
        {"role": "user", "content": "Again."},
        *calling("a"),
        result("a", "2"),
    ]
    expected = [
        ("assistant", None),
        ("tool", "1"),
        ("user", "Again."),
        ("assistant", None),
        ("tool", "2"),
    ]
    assert told(*again) == expected


def test_an_answer_may_stand_before_its_call_but_not_without_one() -> None:
    assert told(result("a", "1"), *calling("a")) == [("assistant", None), ("tool", "1")]
    with pytest.raises(InvalidRequest) as refused:
        told({"role": "user", "content": "1"}, result("x", "?"))
    assert (refused.value.param, refused.value.shown_code) == ("input", "call_not_found")


def test_a_call_that_nobody_answered_is_not_told() -> None:
    assert told(
        {"role": "user", "content": "1"}, *calling("a"), {"role": "user", "content": "2"}
    ) == [
        ("user", "1"),
        ("user", "2"),
    ]
