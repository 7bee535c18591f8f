import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers import catalogue
from providers.exceptions import BadResponse
from providers.filters import conform
from providers.filters.conform import (
    StreamConformer,
    conform_answer,
    convert_to_chunks,
    normalize_finish_reason,
)
from providers.models import Provider
from providers.protocol.chunks import Chunk
from providers.protocol.request import EMBEDDINGS, ChatRequest, Credential
from providers.upstream.base_adapter import BaseAdapter

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=60)
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(delta: Any, finish: Any = None, index: Any = 0, **more: Any) -> Chunk:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more}


def conformed(chunks: list[Chunk]) -> list[Chunk]:
    conformer = StreamConformer()
    return [
        out
        for given_ in copy.deepcopy(chunks)
        if (out := conformer.conform_chunk(given_)) is not None
    ]


def deltas(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [choice["delta"] for out in conformed(chunks) for choice in out["choices"]]


def assembled(chunks: list[Chunk]) -> Any:
    """The message that OpenAI's own client puts together, each chunk checked against the official
    schema.
    """
    state = ChatCompletionStreamState()
    for one in chunks:
        list(state.handle_chunk(ChatCompletionChunk.model_validate(one)))
    return state.get_final_completion().choices[0].message


# --- finish reasons -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        *(
            (reason, reason)
            for reason in ("stop", "length", "tool_calls", "content_filter", "function_call")
        ),
        *(
            (reason, "stop")
            for reason in ("eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "STOP")
        ),
        *(
            (reason, "length")
            for reason in ("max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens")
        ),
        *((reason, "length") for reason in ("pause_turn", "LENGTH")),
        *((reason, "tool_calls") for reason in ("tool_use", "tool_call", "TOOL_CALLS")),
        *(
            (reason, "content_filter")
            for reason in ("SAFETY", "safety", "refusal", "sensitive", "CONTENT_FILTER")
        ),
        *((nothing, None) for nothing in (None, "", 0, 7, False, True, [], {})),
    ],
)
def test_a_finish_reason_is_one_of_openais_or_none(given_: Any, expected: str | None) -> None:
    assert normalize_finish_reason(given_) == expected


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error", "abort"])
def test_a_reason_that_says_the_answer_was_cut_is_never_stop(reason: str) -> None:
    assert (
        normalize_finish_reason(reason) != "stop"
    )  # DeepSeek, OpenRouter, vLLM: what was cut never looks finished


def test_a_choice_finishes_once_and_what_comes_after_is_dropped() -> None:
    out = conformed(
        [
            chunk({"content": "a"}),
            chunk({}, "stop"),
            chunk({}, "length"),
            chunk({"content": "late"}),
        ]
    )
    assert [one["choices"][0]["finish_reason"] for one in out] == [None, "stop"]


def test_usage_that_comes_with_a_second_finish_is_kept() -> None:
    last = conformed([chunk({}, "stop"), chunk({}, "stop", usage={"prompt_tokens": 3})])[-1]
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3}


@pytest.mark.parametrize(
    "nothing", [{}, {"choices": []}, {"choices": None}, {"choices": [], "usage": None}]
)
def test_a_chunk_that_says_nothing_is_dropped(nothing: Chunk) -> None:
    assert conformed([nothing]) == []


@pytest.mark.parametrize("choices", [{}, {"choices": None}, {"choices": []}])
def test_a_chunk_that_has_only_usage_gets_an_empty_list_of_choices(choices: Chunk) -> None:
    assert conformed([{**choices, "usage": {"prompt_tokens": 1}}]) == [
        {"choices": [], "usage": {"prompt_tokens": 1}}
    ]


def test_an_answer_has_finished_when_every_choice_that_began_has() -> None:
    conformer = StreamConformer()
    assert not conformer.is_finished
    conformer.conform_chunk(chunk({"content": "a"}, index=0))
    conformer.conform_chunk(chunk({"content": "b"}, index=1))
    conformer.conform_chunk(chunk({}, "stop", index=1))
    assert not conformer.is_finished
    conformer.conform_chunk(chunk({}, "stop", index=0))
    assert conformer.is_finished


# --- roles and unknown fields ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "first", [{"content": "a"}, {"role": None, "content": "a"}, {"role": "", "content": "a"}]
)
def test_the_first_delta_has_the_role(first: dict[str, Any]) -> None:
    assert deltas([chunk(first)]) == [{"role": "assistant", "content": "a"}]


def test_a_role_that_the_upstream_gave_stays_and_each_choice_has_its_own() -> None:
    found = deltas(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "b"}, index=1),
            chunk({"content": "c"}),
        ]
    )
    assert found == [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "b"},
        {"content": "c"},
    ]


def test_a_role_in_every_delta_does_not_add_up_in_openais_client() -> None:
    out = conformed(
        [chunk({"role": "assistant", "content": text}) for text in ("a", "b")] + [chunk({}, "stop")]
    )
    message = assembled(out)
    assert (message.role, message.content) == ("assistant", "ab")


@pytest.mark.parametrize("delta", [None, [], "text", 7])
def test_a_delta_that_is_no_object_becomes_one(delta: Any) -> None:
    assert deltas([chunk(delta)]) == [{"role": "assistant", "content": None}]


@pytest.mark.parametrize("index", [None, "0", 0.0, []])
def test_a_choice_without_a_usable_index_is_the_first(index: Any) -> None:
    assert conformed([chunk({"content": "a"}, index=index)])[0]["choices"][0]["index"] == 0


def test_fields_it_does_not_know_travel_through_untouched() -> None:
    odd = chunk(
        {"role": "assistant", "content": "a", "reasoning_content": "r", "x": [1]},
        vendor={"y": None},
        id="u",
    )
    odd["choices"][0] |= {"logprobs": {"content": []}, "z": 1}
    assert conformed([odd]) == [odd]


def test_a_legacy_completion_keeps_its_text_and_gets_no_delta() -> None:
    choice = {"index": 0, "text": "a", "logprobs": None, "finish_reason": "eos"}
    assert StreamConformer(is_chat=False).conform_chunk({"choices": [choice]}) == {
        "choices": [{**choice, "finish_reason": "stop"}]
    }


# --- tool calls -----------------------------------------------------------------------------------
def call(
    index: int | None = None,
    *,
    made: str | None = None,
    name: str | None = None,
    arguments: str = "",
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "function": {"arguments": arguments} | ({"name": name} if name is not None else {})
    }
    return (
        found
        | ({"index": index} if index is not None else {})
        | ({"id": made} if made is not None else {})
    )


def calls_made(*parts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The calls OpenAI's client sees in a stream of these tool call deltas, as (id, name,
    arguments).
    """
    out = conformed([chunk({"tool_calls": [part]}) for part in parts] + [chunk({}, "tool_calls")])
    found = assembled(out).tool_calls
    assert all(one.type == "function" for one in found)
    return [(one.id, one.function.name, one.function.arguments) for one in found]


def test_calls_that_are_interleaved_by_index_are_told_apart() -> None:
    found = calls_made(
        call(0, made="a", name="f", arguments='{"x"'),
        call(1, made="b", name="g"),
        call(0, arguments=": "),
        call(1, arguments='{"é\\u00'),
        call(0, arguments="1}"),
        call(1, arguments='e9": "\\n"}'),
    )
    assert found == [("a", "f", '{"x": 1}'), ("b", "g", '{"é\\u00e9": "\\n"}')]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    found = calls_made(
        call(made="a", name="f", arguments="{"),
        call(made="b", name="g", arguments="["),
        call(made="a", arguments="}"),
        call(made="b", arguments="]"),
    )
    assert found == [("a", "f", "{}"), ("b", "g", "[]")]


def test_a_part_without_index_and_id_belongs_to_the_call_before_it() -> None:
    found = calls_made(
        call(made="a", name="f", arguments="{"),
        call(arguments="}"),
        call(name="g"),
        call(arguments="[]"),
    )
    assert [one[1:] for one in found] == [("f", "{}"), ("g", "[]")]


def test_a_named_call_without_an_index_never_lands_on_one_that_is_there() -> None:
    out = deltas(
        [
            chunk({"tool_calls": [part]})
            for part in (call(1, made="a", name="f"), call(made="b", name="g"))
        ]
    )
    assert [(one["tool_calls"][0]["index"], one["tool_calls"][0]["id"]) for one in out] == [
        (0, "a"),
        (1, "b"),
    ]


def test_whole_calls_in_one_delta_get_an_index_each() -> None:
    out = deltas([chunk({"tool_calls": [call(made="a", name="f"), call(made="b", name="g")]})])
    assert [(one["index"], one["id"], one["type"]) for one in out[0]["tool_calls"]] == [
        (0, "a", "function"),
        (1, "b", "function"),
    ]


@pytest.mark.parametrize(
    "later", ["a", "", "other", None], ids=["the same", "empty", "another", "none"]
)
def test_the_id_of_a_call_is_its_first_one_whatever_later_parts_say(later: str | None) -> None:
    assert calls_made(
        call(0, made="a", name="f", arguments="{"), call(0, made=later, arguments="}")
    ) == [("a", "f", "{}")]


@pytest.mark.parametrize(
    "first", [call(0, name="f"), call(0, made="", name="f")], ids=["missing", "empty"]
)
def test_a_call_without_an_id_gets_a_lasting_one(first: dict[str, Any]) -> None:
    [(made, name, arguments)] = calls_made(first, call(0, arguments="{}"), call(0, made="late"))
    assert made.startswith("call_")
    assert len(made) == len("call_") + 24
    assert (name, arguments) == ("f", "{}")


def test_two_calls_that_bear_one_id_get_two() -> None:
    found = calls_made(
        call(0, made="call_0", name="f", arguments="{}"),
        call(1, made="call_0", name="g", arguments="{}"),
    )
    assert len({made for made, _, _ in found}) == 2


def test_each_choice_has_calls_of_its_own() -> None:
    out = deltas(
        [
            chunk({"tool_calls": [call(0, made=made, name="f")]}, index=index)
            for index, made in enumerate("ab")
        ]
    )
    assert [one["tool_calls"][0]["id"] for one in out] == ["a", "b"]


def test_arguments_that_are_an_object_become_their_json() -> None:
    whole_call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": [1, "é"]}}}
    [(_, _, arguments)] = calls_made(whole_call)
    assert json.loads(arguments) == {"x": [1, "é"]}


@pytest.mark.parametrize(
    "junk",
    [
        {"tool_calls": None},
        {"tool_calls": {}},
        {"tool_calls": "x"},
        {"tool_calls": [None, 5, "x", []]},
        {"tool_calls": [{"function": None}]},
        {
            "tool_calls": [
                {"index": "0", "id": 7, "type": 5, "function": {"name": None, "arguments": None}}
            ]
        },
    ],
    ids=repr,
)
def test_tool_calls_that_are_none_do_not_reach_the_caller(junk: dict[str, Any]) -> None:
    for one in conformed([chunk(junk), chunk({}, "stop")]):
        ChatCompletionChunk.model_validate(one)
        for made in one["choices"][0]["delta"].get("tool_calls", ()):
            assert isinstance(made["index"], int)
            assert isinstance(made["id"], str)
            assert isinstance(made["function"]["name"], str)
            assert isinstance(made["function"]["arguments"], str)


@pytest.mark.parametrize(
    ("ids", "indexed"),
    [("first", True), ("always", True), ("empty later", True), ("always", False)],
)
def test_random_interleavings_are_put_together_as_they_were_meant(ids: str, indexed: bool) -> None:
    draw = random.Random(7)
    for _ in range(20):
        meant = [
            (f"id{n}", f"tool{n}", json.dumps({"n": n, "é\n": "\\" * draw.randrange(4)}))
            for n in range(draw.randrange(1, 5))
        ]
        rest = {
            n: [text[i : i + 3] for i in range(0, len(text), 3)]
            for n, (_, _, text) in enumerate(meant)
        }
        parts = []
        for n, (made, name, _) in enumerate(meant):
            parts.append(call(n if indexed else None, made=made, name=name))
            for _ in range(draw.randrange(3)):
                parts += one_more(draw, rest, list(range(n + 1)), meant, ids, indexed)
        while any(rest.values()):
            parts += one_more(draw, rest, [n for n in rest if rest[n]], meant, ids, indexed)
        assert calls_made(*parts) == meant


def one_more(
    draw: random.Random,
    rest: dict[int, list[str]],
    among: list[int],
    meant: list[Any],
    ids: str,
    indexed: bool,
) -> list[dict[str, Any]]:
    n = draw.choice(among)
    made = {"first": None, "always": meant[n][0], "empty later": ""}[ids]
    return [call(n if indexed else None, made=made, arguments=rest[n].pop(0))] if rest[n] else []


# --- whatever an upstream sends -------------------------------------------------------------------
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "index",
                    "delta",
                    "message",
                    "finish_reason",
                    "tool_calls",
                    "function",
                    "id",
                    "role",
                    "name",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@FAST
@given(
    st.lists(
        st.fixed_dictionaries({"choices": JUNK | st.lists(JUNK)}, optional={"usage": JUNK}),
        max_size=4,
    )
)
def test_any_object_is_conformed_or_dropped(chunks: list[Chunk]) -> None:
    opened = set()
    for out in conformed(chunks):
        for choice in out["choices"]:
            assert isinstance(choice["index"], int)
            assert choice["finish_reason"] in (None, *conform.FINISH_REASONS)
            if choice["index"] not in opened:
                assert choice["delta"]["role"]
            opened.add(choice["index"])


# --- whole answers --------------------------------------------------------------------------------
def answer(message: dict[str, Any], **choice: Any) -> Chunk:
    return {
        "id": "u",
        "created": 1,
        "model": "m",
        "object": "chat.completion",
        "choices": [{"message": message, **choice}],
    }


def test_a_whole_answer_gets_the_keys_that_the_official_schema_requires() -> None:
    found = conform_answer(answer({"content": "hi"}))
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
    found = conform_answer(answer(message, **choice))
    ChatCompletion.model_validate(found)
    assert found["choices"][0]["message"]["role"] == "assistant"
    assert found["choices"][0]["index"] == 0


def test_fields_of_a_whole_answer_that_it_does_not_know_stay() -> None:
    given_ = answer(
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
    [choice] = conform_answer(answer(message, index=index, finish_reason=reason))["choices"]
    assert isinstance(choice["index"], int)
    assert choice["finish_reason"] in conform.FINISH_REASONS


# --- a whole answer although a stream was asked ---------------------------------------------------
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
        answer(message, finish_reason="tool_use") | {"usage": USAGE, "vendor": 1}
    )
    found = assembled(chunks)
    assert (found.role, found.content, found.reasoning_content) == ("assistant", "hi", "hm")
    assert [(one.id, one.function.name, one.function.arguments) for one in found.tool_calls] == [
        ("f", "f", "{}"),
        ("g", "g", "{}"),
    ]
    assert {one["object"] for one in chunks} == {"chat.completion.chunk"}
    assert {one["vendor"] for one in chunks} == {1}
    assert [one["choices"][0]["finish_reason"] for one in chunks[:-1]] == [None, "tool_calls"]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], USAGE)


def test_each_choice_of_a_whole_answer_has_its_chunks_and_finish_reason() -> None:
    both = answer({"content": "a"}, finish_reason="stop")
    both["choices"].append({"message": {"content": "b"}, "finish_reason": "max_tokens"})
    found = [
        (one["choices"][0]["index"], one["choices"][0]["finish_reason"])
        for one in convert_to_chunks(both)
    ]
    assert found == [(0, None), (0, "stop"), (1, None), (1, "length")]


def test_a_whole_legacy_completion_becomes_a_stream_of_text() -> None:
    choice = {"index": 0, "text": "hello", "logprobs": None, "finish_reason": "stop"}
    chunks = convert_to_chunks(
        {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    )
    assert "".join(one["choices"][0]["text"] for one in chunks) == "hello"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert {one["object"] for one in chunks} == {"text_completion"}


# --- embeddings -----------------------------------------------------------------------------------
def embedded(vector: Any, encoding: str) -> Any:
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
    answered = BaseAdapter(upstream, clients=None).parse_answer(request, data, Credential(None, ""))  # type: ignore[arg-type]
    return answered["data"][0]["embedding"]


NUMBERS, PACKED = [0.5, -1.0, 0.0], "AAAAPwAAgL8AAAAA"


@pytest.mark.parametrize("given_", [NUMBERS, PACKED], ids=["a list", "base64"])
def test_a_vector_comes_in_the_encoding_that_was_asked_for(given_: Any) -> None:
    assert embedded(given_, "base64") == PACKED
    assert embedded(given_, "float") == NUMBERS


@pytest.mark.parametrize("vector", [[1e39], [0.5, -1e300], ["x"], [None], [[0.5]], [{}]], ids=str)
def test_a_list_that_is_no_vector_is_a_bad_response(vector: Any) -> None:
    with pytest.raises(BadResponse):
        embedded(vector, "base64")


@pytest.mark.parametrize("vector", ["AAAAPw", "AAAAPwA=", "é", "AAA"], ids=ascii)
def test_base64_that_is_no_vector_is_a_bad_response(vector: Any) -> None:
    with pytest.raises(BadResponse):
        embedded(vector, "float")
