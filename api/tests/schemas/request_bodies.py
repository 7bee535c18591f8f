"""Bodies of requests: the smallest ones, and every documented field with its values."""

from typing import Any

import orjson
import pytest

from api.schemas import chat_request_body
from providers.exceptions import CallerError
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS

USER = {"role": "user", "content": "hi"}
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [USER]},
    COMPLETIONS: {"model": "m", "prompt": "hi"},
    EMBEDDINGS: {"model": "m", "input": "hi"},
}
LEAST_CHAT = orjson.dumps(LEAST[CHAT])
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def read_body(endpoint: str, **fields: Any) -> dict[str, Any]:
    return chat_request_body.read_request_body(endpoint, orjson.dumps(LEAST[endpoint] | fields))


def catch_refusal(endpoint: str, **fields: Any) -> CallerError:
    with pytest.raises(CallerError) as caught:
        read_body(endpoint, **fields)
    assert caught.value.shown_status == 400
    return caught.value


CHAT_FIELDS: dict[str, list[Any]] = {
    "audio": [{"voice": "alloy", "format": "wav"}, None],
    "frequency_penalty": [-2, 0, 2, 0.5, None],
    "function_call": ["auto", "none", {"name": "f"}],
    "functions": [[{"name": "f"}], None],
    "logit_bias": [{"50256": -100, "1": 100}, {}, None],
    "logprobs": [True, False, None],
    "max_completion_tokens": [1, 100_000, None],
    "max_tokens": [1, 100_000, None],
    "metadata": [{"a": "b"}, {}, None],
    "modalities": [["text"], ["text", "audio"], None],
    "n": [1, 128, None],
    "parallel_tool_calls": [True, False],
    "prediction": [{"type": "content", "content": "x"}, None],
    "presence_penalty": [-2, 2, None],
    "prompt_cache_key": ["k", None],
    "reasoning_effort": ["none", "minimal", "low", "high", "xhigh", None],
    "response_format": [
        {"type": "text"},
        {"type": "json_object"},
        {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        None,
    ],
    "safety_identifier": ["s", None],
    "seed": [0, -(2**63), 2**63 - 1, None],
    "service_tier": ["auto", "flex", None],
    "stop": ["x", ["x"], ["a", "b", "c", "d"], None],
    "store": [True, False, None],
    "stream": [True, False, None],
    "temperature": [0, 2, 0.7, None],
    "tool_choice": ["none", "auto", None],
    "tools": [[TOOL], [{"type": "custom", "custom": {"name": "x"}}], None],
    "top_p": [0, 1, 0.5, None],
    "user": ["u", "", None],
    "verbosity": ["low", None],
    "web_search_options": [{}, {"search_context_size": "low"}, None],
    "conversation_id": ["c", None],
    "session_id": ["s", None],
}
COMPLETION_FIELDS: dict[str, list[Any]] = {
    "prompt": ["x", "", ["a", "b"], [1, 2, 3], [[1, 2], [3]], None],
    "best_of": [1, 20, None],
    "echo": [True, None],
    "logprobs": [0, 5, None],
    "suffix": ["x", None],
    "stop": ["x", ["a"]],
    "n": [1],
}
EMBEDDING_FIELDS: dict[str, list[Any]] = {
    "input": ["x", ["a", "b"], [1, 2, 3], [[1, 2], [3]]],
    "dimensions": [1, 256, None],
    "encoding_format": ["float", "base64", None],
    "user": ["u", None],
}
