"""Wrong types and values: each is a 400 that names its field."""

from typing import Any

import orjson
import pytest

from api.schemas import chat_request_body
from api.tests.schemas.request_bodies import CALL, LEAST, TOOL, USER, catch_refusal
from providers.exceptions import InvalidRequest
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS

WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(
        (endpoint, {"model": value}, "model")
        for endpoint in LEAST
        for value in (None, 5, "", [], "x" * 201, True)
    ),
    *((CHAT, {"messages": value}, "messages") for value in (None, [], {}, "x", 5)),
    *((CHAT, {"messages": [value]}, "messages[0]") for value in (None, "x", 5, [])),
    *(
        (CHAT, {"messages": [USER, {"role": value, "content": "x"}]}, "messages[1].role")
        for value in ("robot", 5, None)
    ),
    (CHAT, {"messages": [{"content": "x"}]}, "messages[0].role"),
    *(
        (CHAT, {"messages": [{"role": "user", "content": value}]}, "messages[0].content")
        for value in (5, {}, True)
    ),
    (CHAT, {"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    (CHAT, {"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": 5}]}]},
        "messages[0].content[0].type",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        "messages[0].content[0].text",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url",
    ),
    (
        CHAT,
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]}
            ]
        },
        "messages[0].content[0].image_url.url",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
        "messages[0].content[0].file",
    ),
    *(
        (CHAT, {"messages": [{"role": role}]}, "messages[0].content")
        for role in ("system", "user", "tool", "assistant")
    ),
    (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    (
        CHAT,
        {"messages": [USER, {"role": "assistant", "tool_calls": "x"}]},
        "messages[1].tool_calls",
    ),
    (
        CHAT,
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
        "messages[0].tool_calls[0].id",
    ),
    (
        CHAT,
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [CALL | {"function": {"name": "f", "arguments": {}}}],
                }
            ]
        },
        "messages[0].tool_calls[0].function.arguments",
    ),
    *(
        (CHAT, {name: value}, name)
        for name, values in {
            "frequency_penalty": [-2.1, 2.1, "1", True],
            "presence_penalty": [3, []],
            "logit_bias": [[], "x", {"1": 101}, {"1": "x"}, {"1": -101}],
            "logprobs": [1, "true"],
            "max_tokens": [0, -1, 1.5, "5", True],
            "max_completion_tokens": [0, "5"],
            "metadata": [[], {"a": 5}, "x"],
            "modalities": ["text"],
            "n": [0, 129, 1.5, "1", True],
            "parallel_tool_calls": ["yes", 1],
            "reasoning_effort": [5, ["low"]],
            "seed": ["x", 1.5],
            "stop": [5, {}, ["x"] * 17],
            "store": ["x", 1],
            "stream": ["true", 1, 0],
            "temperature": [-0.1, 2.1, "1", True],
            "top_p": [-0.1, 1.1, "x"],
            "top_logprobs": [21, -1, "x"],
            "user": [5, {}],
            "tools": ["x", {}],
            "functions": ["x", [{"name": "f"}] * 129],
            "response_format": ["json", 5, []],
            "tool_choice": [
                "always",
                "required",
                "",
                5,
                ["auto"],
                {"type": "function", "function": {"name": "f"}},
            ],
            "web_search_options": ["x"],
            "conversation_id": [5],
            "session_id": [{}],
        }.items()
        for value in values
    ),
    (CHAT, {"modalities": ["text", 5]}, "modalities[1]"),
    (CHAT, {"stop": ["x", 5]}, "stop[1]"),
    (CHAT, {"tools": [{}]}, "tools[0].type"),
    (CHAT, {"tools": [TOOL, {"type": "function", "function": {}}]}, "tools[1].function.name"),
    (CHAT, {"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
    (CHAT, {"response_format": {}}, "response_format.type"),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type"),
    (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        "response_format.json_schema.name",
    ),
    (
        CHAT,
        {"stream": True, "stream_options": {"include_usage": "yes"}},
        "stream_options.include_usage",
    ),
    (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
    (CHAT, {"top_logprobs": 3}, "top_logprobs"),
    *((COMPLETIONS, {"prompt": value}, "prompt") for value in (5, {}, True)),
    *((COMPLETIONS, {"prompt": [value]}, "prompt[0]") for value in ({}, None, 1.5)),
    *((COMPLETIONS, {"best_of": value}, "best_of") for value in (0, "x")),
    (COMPLETIONS, {"logprobs": 6}, "logprobs"),
    (COMPLETIONS, {"logprobs": True}, "logprobs"),
    (COMPLETIONS, {"temperature": 3}, "temperature"),
    *((EMBEDDINGS, {"input": value}, "input") for value in (None, "", [], 5, {}, ["x"] * 2_049)),
    *((EMBEDDINGS, {"input": ["a", value]}, "input[1]") for value in ("", None, {}, 1.5)),
    *((EMBEDDINGS, {"dimensions": value}, "dimensions") for value in (0, "x", 65_537)),
    *((EMBEDDINGS, {"encoding_format": value}, "encoding_format") for value in ("hex", 5)),
]


@pytest.mark.parametrize(("endpoint", "fields", "param"), WRONG, ids=lambda value: str(value)[:60])
def test_a_wrong_value_is_a_400_that_names_the_field(
    endpoint: str, fields: dict[str, Any], param: str
) -> None:
    error = catch_refusal(endpoint, **fields)
    assert isinstance(error, InvalidRequest)
    assert error.param == param
    assert error.type == "invalid_request_error"
    assert error.shown_code in ("invalid_type", "invalid_value", "missing_required_parameter")
    assert error.message.isprintable()
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [(endpoint, "model") for endpoint in LEAST]
    + [(CHAT, "messages"), (COMPLETIONS, "prompt"), (EMBEDDINGS, "input")],
)
def test_a_missing_field_is_named(endpoint: str, field: str) -> None:
    body = {name: value for name, value in LEAST[endpoint].items() if name != field}
    with pytest.raises(InvalidRequest) as caught:
        chat_request_body.read_request_body(endpoint, orjson.dumps(body))
    assert (caught.value.param, caught.value.shown_code) == (field, "missing_required_parameter")


def test_a_wrong_value_is_not_repeated_in_the_message() -> None:
    assert (
        "a-secret-of-the-caller"
        not in catch_refusal(CHAT, temperature="a-secret-of-the-caller").message
    )
