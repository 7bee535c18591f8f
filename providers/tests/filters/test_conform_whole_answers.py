"""Whole answers and embeddings conform, and become streams where one was requested."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from providers import catalogue
from providers.exceptions import BadResponse
from providers.filters.conform import (
    conform_answer,
    convert_to_chunks,
)
from providers.filters.finish_reasons import FINISH_REASONS
from providers.models import Provider
from providers.protocol.request import EMBEDDINGS, ChatRequest, Credential
from providers.tests.filters.conforming import (
    FAST,
    JUNK,
    join_message,
    make_answer,
)
from providers.upstream.base_adapter import BaseAdapter


def test_a_whole_answer_gets_the_keys_that_the_official_schema_requires() -> None:
    found = conform_answer(make_answer({"content": "hi"}))
    ChatCompletion.model_validate(found)
    assert found["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hi", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


@pytest.mark.parametrize(
    ("message", "choice"),
    [
        ({"role": None}, {}),
        ({"content": "a"}, {"index": None}),
        ({"content": "a"}, {"index": "1", "finish_reason": 5}),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
            {"finish_reason": "tool_use"},
        ),
        ({"tool_calls": [{"function": {"name": "f"}}]}, {}),
        ({"tool_calls": ["x", None, 5]}, {}),
        ({"tool_calls": "xyz"}, {}),
        ({"tool_calls": {"a": 1}}, {}),
    ],
    ids=repr,
)
def test_a_whole_answer_is_mended_to_the_official_schema(
    message: dict[str, Any], choice: dict[str, Any]
) -> None:
    found = conform_answer(make_answer(message, **choice))
    ChatCompletion.model_validate(found)
    assert found["choices"][0]["message"]["role"] == "assistant"
    assert found["choices"][0]["index"] == 0


def test_fields_of_a_whole_answer_that_it_does_not_know_stay() -> None:
    given_ = make_answer(
        {"role": "assistant", "content": "a", "refusal": None, "x": 1},
        index=3,
        logprobs={"a": 1},
        finish_reason="stop",
    )
    assert conform_answer(copy.deepcopy(given_) | {"z": 2}) == given_ | {"z": 2}


@FAST
@given(
    st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "refusal"]), JUNK), JUNK, JUNK
)
def test_any_whole_answer_is_mended(message: dict[str, Any], index: Any, reason: Any) -> None:
    [choice] = conform_answer(make_answer(message, index=index, finish_reason=reason))["choices"]
    assert isinstance(choice["index"], int)
    assert choice["finish_reason"] in FINISH_REASONS


# --- a whole answer although a stream was requested -----------------------------------------------
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_a_whole_answer_becomes_a_stream_that_openais_client_puts_together_again() -> None:
    message = {
        "content": "hi",
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": name, "function": {"name": name, "arguments": "{}"}} for name in "fg"
        ],
    }
    chunks = convert_to_chunks(
        make_answer(message, finish_reason="tool_use") | {"usage": USAGE, "vendor": 1}
    )
    found = join_message(chunks)
    assert (found.role, found.content, found.reasoning_content) == ("assistant", "hi", "hm")
    assert [
        (call.id, call.function.name, call.function.arguments) for call in found.tool_calls
    ] == [
        ("f", "f", "{}"),
        ("g", "g", "{}"),
    ]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["vendor"] for chunk in chunks} == {1}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, "tool_calls"]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], USAGE)


def test_each_choice_of_a_whole_answer_has_its_chunks_and_finish_reason() -> None:
    both = make_answer({"content": "a"}, finish_reason="stop")
    both["choices"].append({"message": {"content": "b"}, "finish_reason": "max_tokens"})
    found = [
        (chunk["choices"][0]["index"], chunk["choices"][0]["finish_reason"])
        for chunk in convert_to_chunks(both)
    ]
    assert found == [(0, None), (0, "stop"), (1, None), (1, "length")]


def test_a_whole_legacy_completion_becomes_a_stream_of_text() -> None:
    choice = {"index": 0, "text": "hello", "logprobs": None, "finish_reason": "stop"}
    chunks = convert_to_chunks(
        {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    )
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "hello"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}


# --- embeddings -----------------------------------------------------------------------------------
def embed(vector: Any, encoding: str) -> Any:
    """The vector that a caller gets who asked for this encoding."""
    upstream = catalogue.make_upstream(
        Provider(pk=1, name="p", kind="openai_compatible", base_url="https://api.example.com")
    )
    request = ChatRequest(
        "1", EMBEDDINGS, "m", {"model": "m", "input": "x", "encoding_format": encoding}
    )
    data = json.dumps(
        {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}
    ).encode()
    adapter = BaseAdapter(upstream, clients=None)  # type: ignore[arg-type]
    answered = adapter.parse_answer(request, data, Credential(None, ""))
    return answered["data"][0]["embedding"]


NUMBERS, PACKED = [0.5, -1.0, 0.0], "AAAAPwAAgL8AAAAA"


@pytest.mark.parametrize("given_", [NUMBERS, PACKED], ids=["a list", "base64"])
def test_a_vector_comes_in_the_encoding_that_was_asked_for(given_: Any) -> None:
    assert embed(given_, "base64") == PACKED
    assert embed(given_, "float") == NUMBERS


@pytest.mark.parametrize("vector", [[1e39], [0.5, -1e300], ["x"], [None], [[0.5]], [{}]], ids=str)
def test_a_list_that_is_no_vector_is_a_bad_response(vector: Any) -> None:
    with pytest.raises(BadResponse):
        embed(vector, "base64")


@pytest.mark.parametrize("vector", ["AAAAPw", "AAAAPwA=", "é", "AAA"], ids=ascii)
def test_base64_that_is_no_vector_is_a_bad_response(vector: Any) -> None:
    with pytest.raises(BadResponse):
        embed(vector, "float")
