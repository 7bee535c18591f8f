"""Bodies that are accepted, and kept as they are."""

from typing import Any

import pytest

from api.schemas import json_body
from api.tests.schemas.request_bodies import (
    CALL,
    CHAT_FIELDS,
    COMPLETION_FIELDS,
    EMBEDDING_FIELDS,
    LEAST,
    TOOL,
    USER,
    catch_refusal,
    read_body,
)
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS

DOCUMENTED = [
    (endpoint, name, value)
    for endpoint, fields in (
        (CHAT, CHAT_FIELDS),
        (COMPLETIONS, COMPLETION_FIELDS),
        (EMBEDDINGS, EMBEDDING_FIELDS),
    )
    for name, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("endpoint", "name", "value"), DOCUMENTED)
def test_every_documented_field_is_taken_and_kept(endpoint: str, name: str, value: Any) -> None:
    assert read_body(endpoint, **{name: value}) == LEAST[endpoint] | {name: value}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"logprobs": True, "top_logprobs": 20},
        {"logprobs": True, "top_logprobs": 0},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"stream": True, "stream_options": None},
    ],
    ids=repr,
)
def test_fields_that_need_each_other_are_taken_together(fields: dict[str, Any]) -> None:
    assert read_body(CHAT, **fields) == LEAST[CHAT] | fields


MESSAGES = [
    {"role": "system", "content": "s"},
    {"role": "developer", "content": [{"type": "text", "text": "d"}]},
    {"role": "user", "content": "", "name": "n"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": ""},
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,AA", "detail": "low"},
            },
            {"type": "image_url", "image_url": "https://example.com/x.png"},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "file", "file": {"file_id": "f"}},
            {"type": "video_url", "video_url": {"url": "x"}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "r",
        "reasoning": {"x": 1},
        "vendor": [1],
    },
    {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "tool", "content": "t", "tool_call_id": "c"},
    {"role": "function", "content": "f", "name": "f"},
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message)[:50])
def test_every_kind_of_message_is_taken_as_it_is(message: dict[str, Any]) -> None:
    assert read_body(CHAT, messages=[USER, message])["messages"] == [USER, message]


def test_fields_it_does_not_know_are_kept_at_every_level() -> None:
    odd = {
        "top_k": 5,
        "thinking": {"type": "enabled"},
        "x": [None, {"y": 1.5}],
        "": "",
        "ü\u2028": "🎈",
    }
    message = USER | {"cache_control": {"type": "ephemeral"}}
    assert read_body(CHAT, **odd, messages=[message]) == {
        "model": "m",
        "messages": [message],
        **odd,
    }
    for endpoint in (COMPLETIONS, EMBEDDINGS):
        assert read_body(endpoint, **odd) == LEAST[endpoint] | odd


@pytest.mark.parametrize("endpoint", LEAST)
@pytest.mark.parametrize("field", sorted(json_body.ROUTING_FIELDS))
def test_a_field_that_would_choose_a_url_header_or_credential_is_refused(
    endpoint: str, field: str
) -> None:
    for value in ("https://evil.example", {"Authorization": "x"}, None):
        error = catch_refusal(endpoint, **{field: value})
        assert (error.param, error.shown_code, error.type) == (
            field,
            "unknown_parameter",
            "invalid_request_error",
        )


def test_the_contract_names_these_routing_fields() -> None:
    assert {
        "api_base",
        "base_url",
        "api_key",
        "extra_headers",
        "custom_host",
    } <= json_body.ROUTING_FIELDS
