"""Thinking shown as callers want it: inline, hidden, or in its own field."""

from providers.filters.thinking import ThinkingRenderer
from providers.protocol.chunks import Chunk
from providers.tests.filters.thinking_chunks import (
    list_deltas,
    make_chunk,
    run_filters,
)


def join_shown_text(thinking: str, *chunks: Chunk) -> str:
    return "".join(
        delta.get("content") or ""
        for delta in list_deltas(run_filters([*chunks], ThinkingRenderer(thinking)))
    )


THOUGHT = [
    make_chunk({"role": "assistant", "content": None}),
    make_chunk({"reasoning_content": "a"}),
    make_chunk({"reasoning_content": "b"}),
    make_chunk({"content": "c"}),
    make_chunk({"content": "d"}),
    make_chunk({}, "stop"),
]


def test_inline_thinking_stands_between_its_tags_before_the_answer() -> None:
    out = run_filters(THOUGHT, ThinkingRenderer("inline"))
    assert [delta.get("content") for delta in list_deltas(out)] == [
        None,
        "<think>a",
        "b",
        "</think>\n\nc",
        "d",
        None,
    ]
    assert not any("reasoning_content" in delta for delta in list_deltas(out))


def test_inline_thinking_is_closed_whatever_follows_it() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert (
        join_shown_text("inline", make_chunk({"reasoning": "a"}), make_chunk({}, "length"))
        == "<think>a</think>"
    )
    assert join_shown_text("inline", make_chunk({"reasoning": "a"}, "stop")) == "<think>a</think>"
    assert (
        join_shown_text("inline", make_chunk({"reasoning": "a", "content": "b"}, "stop"))
        == "<think>a</think>\n\nb"
    )
    calls = [
        make_chunk({"reasoning": "a"}),
        make_chunk({"tool_calls": [call]}),
        make_chunk({}, "tool_calls"),
    ]
    out = list_deltas(run_filters(calls, ThinkingRenderer("inline")))
    assert out == [{"content": "<think>a"}, {"tool_calls": [call], "content": "</think>"}, {}]
    assert join_shown_text("inline", make_chunk({"content": "b"}, "stop")) == "b"


def test_thinking_between_texts_is_inline_where_it_stood() -> None:
    chunks = [
        make_chunk({name: text})
        for name, text in (("content", "a"), ("reasoning_content", "b"), ("content", "c"))
    ]
    assert join_shown_text("inline", *chunks, make_chunk({}, "stop")) == "a<think>b</think>\n\nc"


def test_inline_thinking_that_comes_in_two_fields_is_shown_once() -> None:
    both = {"reasoning_content": "a", "reasoning": "a", "reasoning_details": [{"text": "a"}]}
    out = run_filters(
        [make_chunk(both), make_chunk({"content": "b"}, "stop")], ThinkingRenderer("inline")
    )
    assert list_deltas(out) == [{"content": "<think>a"}, {"content": "</think>\n\nb"}]


def test_hidden_thinking_does_not_come_at_all() -> None:
    chunks = [
        make_chunk({name: "secret"})
        for name in ("reasoning_content", "reasoning", "reasoning_details")
    ]
    out = run_filters([*THOUGHT, *chunks], ThinkingRenderer("hidden"))
    assert list_deltas(out) == [
        {"role": "assistant", "content": None},
        {"content": "c"},
        {"content": "d"},
        {},
    ]
    assert (
        run_filters(
            [make_chunk({"reasoning": "a"}, usage={"total_tokens": 1})], ThinkingRenderer("hidden")
        )[0]["choices"]
        == []
    )


def test_thinking_as_reasoning_comes_as_it_is() -> None:
    assert run_filters(THOUGHT, ThinkingRenderer("reasoning")) == THOUGHT
