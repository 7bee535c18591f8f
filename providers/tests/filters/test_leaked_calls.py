"""Calls that a native upstream lets slip into its text or thinking become tool calls."""

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from providers.filters import choose_filters, choose_leak_reader
from providers.filters.answer_folder import fold_answer
from providers.filters.leaked_calls import read_leaked_calls
from providers.filters.prompted_tools.call_reader import CallReader
from providers.filters.prompted_tools.call_syntax import (
    ALL_FORMS,
    FENCES,
    KIMI,
    LINES,
    OPENERS_BY_FORM,
    PYTHON,
    SENTENCES,
)
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.dialect import UNMISTAKABLE_FORMS, Dialect
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.tests.filters.conforming import join_message
from providers.tests.filters.prompted_tools.public_cases import TOOLS
from providers.tests.filters.prompted_tools.written_forms import (
    UNMISTAKABLE,
    Writer,
    deepseek_v31,
    fenced,
    inline,
    kimi,
    llama_python,
    mistral_id,
)

NATIVE = UpstreamModel("m")
CALL = ("get_current_weather", {"location": "北京", "days": 3})


def build_request(**fields: Any) -> ChatRequest:
    tools = [{"type": "function", "function": tool} for tool in TOOLS.values()]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools} | fields
    return ChatRequest("0" * 32, "chat/completions", "m", body)


def make_reader(**fields: Any) -> CallReader:
    reader = choose_leak_reader(build_request(**fields), NATIVE, Attempt("p", "m"))
    assert reader is not None
    return reader


def make_stream(field: str, *pieces: str, finish: str = "stop", **last: Any) -> list[Chunk]:
    request = build_request()
    return [
        make_delta(request, role="assistant", content=None),
        *(make_delta(request, **{field: piece}) for piece in pieces),
        *([make_delta(request, **last)] if last else []),
        make_delta(request, finish_reason=finish),
    ]


async def relay(*batches: list[Chunk]) -> AsyncIterator[list[Chunk]]:
    for batch in batches:
        yield copy.deepcopy(batch)


async def read_stream(chunks: list[Chunk], **fields: Any) -> list[Chunk]:
    """Each chunk in a batch of its own."""
    batches = read_leaked_calls(relay(*([chunk] for chunk in chunks)), make_reader(**fields))
    return [chunk async for batch in batches for chunk in batch]


def list_calls(chunks: list[Chunk]) -> list[tuple[str, Any]]:
    return [
        (call.function.name, json.loads(call.function.arguments))
        for call in join_message(chunks).tool_calls or ()
    ]


@pytest.mark.parametrize("write", UNMISTAKABLE, ids=lambda write: write.__name__)
@pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning"])
async def test_a_call_in_text_or_thinking_is_a_tool_call(write: Writer, field: str) -> None:
    text = write(*CALL)
    for pieces in ((text,), text, ("I see. ", text[:9], text[9:])):
        stream = await read_stream(make_stream(field, *pieces))
        assert list_calls(stream) == [CALL]
        assert stream[-1]["choices"][0]["finish_reason"] == "tool_calls"
        message = fold_answer(stream)["choices"][0]["message"]
        assert (message.get(field) or "").strip() in ("", "I see.")


@pytest.mark.parametrize("field", ["content", "reasoning_content"])
async def test_a_whole_answer_says_the_same(field: str) -> None:
    message = {"role": "assistant", "content": None} | {field: f"I see.{kimi(*CALL)}"}
    answer = {
        "id": "u",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"total_tokens": 5},
        "provider": "x",
    }
    [[whole]] = [batch async for batch in read_leaked_calls(relay([answer]), make_reader())]
    choice = whole["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    [call] = choice["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == CALL
    assert choice["message"][field] == "I see."
    assert (whole["usage"], whole["provider"]) == ({"total_tokens": 5}, "x")


async def test_an_answer_without_a_sign_passes_as_the_same_object() -> None:
    message = {"role": "assistant", "content": "plain {text}"}
    answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    chunks = make_stream("content", "plain ", "text ", "[1] a", " {b}", " c`d` e")

    async def pass_on(batch: list[Chunk]) -> AsyncIterator[list[Chunk]]:
        yield batch

    [[passed]] = [batch async for batch in read_leaked_calls(pass_on([answer]), make_reader())]
    assert passed is answer
    assert await read_stream(chunks) == chunks


@pytest.mark.parametrize("later", ["content", "reasoning_content", "tool_calls"])
async def test_a_call_in_thinking_that_goes_on_is_none(later: str) -> None:
    own = [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]
    follows: Any = own if later == "tool_calls" else "No need."
    text = kimi(*CALL)
    for pieces in ((text,), text):
        stream = await read_stream(
            make_stream("reasoning_content", "I could ", *pieces, **{later: follows})
        )
        message = fold_answer(stream)["choices"][0]["message"]
        assert message["reasoning_content"].startswith(f"I could {text}")
        assert len(message.get("tool_calls", ())) == (later == "tool_calls")


async def test_a_call_in_thinking_that_was_cut_off_is_none() -> None:
    chunks = make_stream("reasoning_content", kimi(*CALL), finish="length")
    message = fold_answer(await read_stream(chunks))["choices"][0]["message"]
    assert message["reasoning_content"] == kimi(*CALL)
    assert "tool_calls" not in message


async def test_calls_in_the_text_and_calls_of_the_upstream_are_numbered_together() -> None:
    function = {"name": "list_events", "arguments": "{}"}
    own = [{"index": 0, "id": "c", "type": "function", "function": function}]
    stream = await read_stream(make_stream("content", kimi(*CALL), tool_calls=own))
    assert list_calls(stream) == [CALL, ("list_events", {})]


@pytest.mark.parametrize("write", [fenced, inline, llama_python])
async def test_forms_that_an_answer_may_show_are_text_of_a_native_upstream(write: Writer) -> None:
    text = write(*CALL)
    stream = await read_stream(make_stream("content", text))
    assert fold_answer(stream)["choices"][0]["message"]["content"] == text


async def test_a_call_in_code_or_of_an_unknown_tool_is_text() -> None:
    for text in (f"```\n{kimi(*CALL)}\n```", kimi("unknown", {}), f"`{mistral_id(*CALL)}`"):
        stream = await read_stream(make_stream("content", *text))
        assert fold_answer(stream)["choices"][0]["message"]["content"] == text


async def test_the_id_that_the_model_wrote_is_kept_unless_a_call_has_it() -> None:
    async def read_id(write: Writer, **fields: Any) -> str:
        stream = await read_stream(make_stream("content", write(*CALL)), **fields)
        call_id: str = join_message(stream).tool_calls[0].id
        return call_id

    assert await read_id(mistral_id) == "abcDEF123"
    assert await read_id(kimi) == "functions.get_current_weather:0"
    used = {"id": "abcDEF123", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [{"role": "assistant", "content": None, "tool_calls": [used]}]
    assert (await read_id(mistral_id, messages=history)).startswith("call_")


async def test_without_parallel_calls_one_call_of_thinking_counts() -> None:
    chunks = make_stream("reasoning_content", kimi(*CALL), kimi(*CALL))
    assert len(list_calls(await read_stream(chunks))) == 2
    assert len(list_calls(await read_stream(chunks, parallel_tool_calls=False))) == 1


async def test_the_forms_that_are_looked_for_can_be_chosen() -> None:
    model = UpstreamModel("m", dialect=Dialect(leaked_forms=frozenset((KIMI,))))
    reader = choose_leak_reader(build_request(), model, Attempt("p", "m"))
    assert reader is not None
    chunks = make_stream("content", deepseek_v31(*CALL), kimi(*CALL))
    out = [chunk async for batch in read_leaked_calls(relay(chunks), reader) for chunk in batch]
    assert list_calls(out) == [CALL]
    quiet_model = UpstreamModel("m", dialect=Dialect(leaked_forms=frozenset()))
    assert choose_leak_reader(build_request(), quiet_model, Attempt("p", "m")) is None


def test_the_forms_that_a_dialect_may_name_are_those_that_nobody_writes_by_accident() -> None:
    ordinary_forms = {FENCES, LINES, SENTENCES, PYTHON}
    assert OPENERS_BY_FORM.keys() - {FENCES, SENTENCES} == UNMISTAKABLE_FORMS
    assert ordinary_forms == ALL_FORMS - UNMISTAKABLE_FORMS


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (NATIVE, {"tools": None}),
        (NATIVE, {"tools": []}),
        (NATIVE, {"tool_choice": "none"}),
        (UpstreamModel("m", tools="prompt"), {}),
        (UpstreamModel("m", tools="none"), {}),
    ],
)
def test_who_offers_no_tools_has_no_reader(model: UpstreamModel, fields: dict[str, Any]) -> None:
    assert choose_leak_reader(build_request(**fields), model, Attempt("p", "m")) is None


def test_a_native_upstream_with_thinking_in_its_text_is_read_behind_the_thinking() -> None:
    model = UpstreamModel("m", thinking_format="tagged", thinking="inline")
    steps = choose_filters(build_request(), model, Attempt("p", "m"))
    chunks = make_stream("content", f"<think>hm</think>{kimi(*CALL)}")
    for step in steps:
        chunks = [out for chunk in chunks for out in step.filter_chunks([chunk])]
    assert list_calls(chunks) == [CALL]
