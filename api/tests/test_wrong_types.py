"""Any JSON value in any field: a body is refused with its field named, or everything behind it can
work with it.
"""

import copy
from typing import Any

import orjson
import pytest

from api.accounting import token_count
from api.responses.request import input_items, schema, to_chat, tool_choice
from api.schemas import chat_request_body
from conversations.messages import chat_to_items, items_to_chat
from conversations.messages.tool_order import pair_tool_calls
from providers.exceptions import CallerError, InvalidJson
from providers.filters import file_parts
from providers.filters.prompted_tools import tool_prompt, tool_request
from providers.protocol.request import CHAT

DATA = "data:text/plain;base64,aGk="
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
NAMED = {"type": "function", "function": {"name": "f"}}
CHAT_BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s"},
        {
            "role": "user",
            "name": "n",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": DATA, "detail": "auto"}},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
                {"type": "file", "file": {"file_data": DATA, "filename": "a.txt"}},
            ],
        },
        {
            "role": "assistant",
            "content": "a",
            "refusal": "r",
            "reasoning_content": "r",
            "reasoning": "r",
        },
        {"role": "assistant", "audio": {"id": "x"}, "annotations": [{}], "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "t"}]},
        {"role": "assistant", "function_call": CALL["function"]},
        {"role": "function", "name": "f", "content": "r"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}}
    | NAMED,
    "functions": [FUNCTION],
    "function_call": {"name": "f"},
    "stream": True,
    "stream_options": {"include_usage": True},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "x"}}},
    "metadata": {"a": "b"},
    "logit_bias": {"1": 1},
    "logprobs": True,
    **dict.fromkeys(
        ("n", "top_logprobs", "mpr_candidates", "max_tokens", "max_completion_tokens", "seed"), 1
    ),
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), 1),
    **dict.fromkeys(
        ("conversation_id", "session_id", "user", "reasoning_effort", "service_tier", "stop"), "x"
    ),
    **dict.fromkeys(("store", "parallel_tool_calls"), True),
    "audio": {"voice": "x"},
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"],
    "reasoning_format": "parsed",
}
TOOL = {"type": "function", **FUNCTION}
RESPONSE_BODY: dict[str, Any] = {
    "model": "m",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "t"},
                {"type": "input_image", "image_url": DATA, "detail": "auto"},
                {"type": "input_file", "file_data": DATA, "filename": "a.txt"},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "x", "annotations": []},
                {"type": "refusal", "refusal": "r"},
            ],
        },
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "x"}],
            "encrypted_content": "x",
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "t"}],
        },
    ],
    "instructions": "i",
    "tools": [
        TOOL,
        {
            "type": "web_search",
            "user_location": {"type": "approximate", "city": "x"},
            "filters": {},
        },
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "f"}],
    },
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "metadata": {"a": "b"},
    "stream": True,
    "stream_options": {"include_obfuscation": True},
    "include": ["reasoning.encrypted_content"],
    "conversation": {"id": "conv_x"},
    "max_output_tokens": 5,
    "truncation": "auto",
}
VALUES: list[Any] = [
    *(None, True, 0, 5, -1, 1.5, 10**18, "", "x", "required", "function"),
    *(
        [],
        [5],
        ["x"],
        [None],
        [[]],
        [{}],
        {},
        {"a": 1},
        {"type": 5},
        {"type": "x"},
        {"name": 5},
        {"id": 5},
    ),
    *(
        {"name": "f"},
        {"function": "f"},
        {"type": "function", "function": "f"},
        {"type": "function", "name": 5},
    ),
    *(
        {"type": "function", "function": {"name": 5}},
        {"allowed_tools": {"mode": "auto", "tools": [5]}},
    ),
    *(
        {"role": "user"},
        {"role": "assistant", "tool_calls": [5]},
        {"url": 5},
        {"file_id": 5},
        {"text": 5},
    ),
]


def places(value, at=()):
    """Where each value stands that a body consists of."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, inner in pairs:
        yield (*at, name)
        yield from places(inner, (*at, name))


def mutations(body):
    """Each place of the body with each value in it."""
    for place in places(body):
        for value in VALUES:
            changed = copy.deepcopy(body)
            inner = changed
            for name in place[:-1]:
                inner = inner[name]
            inner[place[-1]] = value
            yield place, value, changed


def work_with(chat):
    """What reads a chat body on its way up, and can be called without a gateway."""
    messages = chat["messages"]
    list(file_parts.find_file_parts(messages))
    tool_prompt.may_require_call(chat)
    tool_prompt.read_tool_offer(chat)
    orjson.dumps(tool_request.rewrite_tool_request(chat))
    orjson.dumps(
        pair_tool_calls(
            items_to_chat.entries_to_messages(
                [entry.make_storable() for entry in chat_to_items.entries_from_messages(messages)]
            )
        )
    )
    prompt = token_count.Prompt()
    prompt.add_body(chat)
    assert all(isinstance(text, str) for text in prompt.texts)


def read_chat(raw):
    return chat_request_body.read_request_body(CHAT, raw)


def read_response(raw):
    body = schema.read_response_body(raw)
    tool_choice.check_choice(body)
    input_items.find_item_references(body)
    return to_chat.build_chat_body(body, to_chat.build_input_messages(body))


@pytest.mark.parametrize(
    ("read", "body"),
    [(read_chat, CHAT_BODY), (read_response, RESPONSE_BODY)],
    ids=["chat", "response"],
)
def test_no_value_in_any_field_breaks_what_comes_behind(read, body):
    accepted, refusals = 0, []
    for place, value, changed in mutations(body):
        try:
            work_with(read(orjson.dumps(changed)))
            accepted += 1
        except CallerError as error:
            refusals.append((place, value, error))
        except Exception as error:
            raise AssertionError(
                f"{place} = {value!r} is accepted and breaks: {error!r}"
            ) from error
    assert accepted > 400
    assert len(refusals) > 1_000
    assert {error.shown_status for _, _, error in refusals} == {400}
    unnamed = [
        refusal
        for refusal in refusals
        if not refusal[2].param and not isinstance(refusal[2], InvalidJson)
    ]
    assert unnamed == []


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"tool_choice": {"type": "function", "function": "f"}}, "tool_choice.function"),
        (
            {"tool_choice": {"type": "function", "function": {"name": 5}}},
            "tool_choice.function.name",
        ),
        ({"function_call": {"name": ["f"]}}, "function_call.name"),
        ({"messages": [{"role": "assistant", "function_call": 5}]}, "messages[].function_call"),
        (
            {
                "messages": [
                    {"role": "assistant", "function_call": {"name": "f", "arguments": ["x"]}}
                ]
            },
            "messages[].function_call.arguments",
        ),
    ],
)
def test_a_wrong_call_or_choice_is_refused_with_its_field(changed, param):
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "tools": CHAT_BODY["tools"],
    }
    with pytest.raises(CallerError) as caught:
        read_chat(orjson.dumps(body | changed))
    assert caught.value.shown_status == 400
    assert (caught.value.param or "").replace("[0]", "[]") == param
