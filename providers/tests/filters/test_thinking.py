"""Thinking taken out of an answer's chunks."""

from typing import Any

import pytest

from providers import filters
from providers.filters.filter_pipeline import Filter
from providers.filters.thinking import ThinkingRenderer, ThinkingSplitter
from providers.protocol.attempt import Attempt
from providers.protocol.request import CHAT, COMPLETIONS, ChatRequest, UpstreamModel
from providers.tests.filters.thinking_chunks import (
    HEAD,
    fold_choices,
    list_deltas,
    make_chunk,
    run_filters,
)


def test_thinking_and_answer_of_one_chunk_become_two_with_role_first_and_finish_last() -> None:
    delta = {"role": "assistant", "content": "<think>a</think>b"}
    out = run_filters(
        [make_chunk(delta, "stop", usage={"total_tokens": 3})], ThinkingSplitter("tagged")
    )
    assert list_deltas(out) == [
        {"role": "assistant", "content": None, "reasoning_content": "a"},
        {"content": "b"},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in out] == [None, "stop"]
    assert ["usage" in chunk for chunk in out] == [False, True]
    assert all(HEAD.items() <= chunk.items() for chunk in out)


def test_what_was_held_goes_out_before_the_finish_reason() -> None:
    for last in (
        make_chunk({}, "stop"),
        make_chunk({"content": None}, "length"),
        make_chunk({"content": ""}, "stop"),
    ):
        out = run_filters(
            [
                make_chunk({"role": "assistant", "content": "Hel"}),
                make_chunk({"content": "lo"}),
                last,
            ],
            *make_implied(),
        )
        assert list_deltas(out) == [{"role": "assistant", "content": None}, {"content": "Hello"}]
        assert out[-1]["choices"][0]["finish_reason"]
    out = run_filters(
        [make_chunk({"content": "<think>a</th"}), make_chunk({}, "length")], *make_implied()
    )
    assert list_deltas(out) == [{"reasoning_content": "a"}, {"reasoning_content": "</th"}, {}]


def make_implied() -> list[Filter]:
    return [ThinkingSplitter("implied")]


def list_contents(filters_of_answer: list[Filter], *texts: str) -> list[str]:
    """Return the content that each piece of text brings."""
    contents = []
    for text in texts:
        out = run_filters([make_chunk({"content": text})], *filters_of_answer)
        contents.append("".join(delta.get("content") or "" for delta in list_deltas(out)))
    return contents


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "system", "content": "Be brief."}]},
        {"messages": [{"role": "developer", "content": "Be brief."}]},
        {"messages": [], "tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
    ids=["system", "developer", "tools"],
)
def test_an_untagged_answer_to_instructions_streams_until_the_model_thinks_there(
    fields: Any,
) -> None:
    request = ChatRequest("1", CHAT, "m", {"model": "m", **fields}, stream=True)
    model = UpstreamModel("u", thinking_format="implied")

    def choose() -> list[Filter]:
        return filters.choose_filters(request, model, Attempt("p", "m"))

    assert list_contents(choose(), "Once ", "upon") == ["Once ", "upon"]
    assert list_contents(choose(), "<think>a", "</think>", "b") == ["", "", "b"]
    assert list_contents(choose(), "Hm.</th", "ink>", "Yes") == ["Hm.</th", "ink>", "Yes"]
    assert list_contents(choose(), "Hm.", "</think>Yes") == ["", "Yes"]


def test_an_untagged_answer_without_instructions_is_held_to_its_end() -> None:
    request = ChatRequest("1", CHAT, "m", {"messages": [{"role": "user", "content": "Hi"}]})
    model = UpstreamModel("u", thinking_format="implied")
    chosen = filters.choose_filters(request, model, Attempt("p", "m"))
    assert list_contents(chosen, "Hm. ", "Well") == ["", ""]
    out = run_filters([make_chunk({}, "stop")], *chosen)
    assert list_deltas(out) == [{"content": "Hm. Well"}]


def test_chunks_that_say_nothing_any_more_are_dropped_and_others_stay_as_they_are() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    others = [
        make_chunk({"role": "assistant", "content": None}),
        make_chunk({"tool_calls": [call]}),
        make_chunk({"refusal": "no"}),
        {**HEAD, "choices": [], "usage": {"total_tokens": 1}},
    ]
    assert run_filters(others, *make_implied()) == others
    assert run_filters([make_chunk({"content": "held"})], *make_implied()) == []
    passed = run_filters(
        [make_chunk({"content": "held"}, usage={"total_tokens": 1})], *make_implied()
    )
    assert [(chunk["choices"], chunk["usage"]) for chunk in passed] == [([], {"total_tokens": 1})]


def test_text_beside_a_tool_call_leaves_the_call_where_it_is() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    out = run_filters(
        [make_chunk({"content": "a</think>b", "tool_calls": [call]}), make_chunk({}, "tool_calls")],
        *make_implied(),
    )
    assert list_deltas(out) == [
        {"reasoning_content": "a"},
        {"tool_calls": [call], "content": "b"},
        {},
    ]


def test_each_choice_is_split_by_itself() -> None:
    out = run_filters(
        [
            {
                **HEAD,
                "choices": [
                    make_chunk({"content": text}, index=at)["choices"][0]
                    for at, text in enumerate(texts)
                ],
            }
            for texts in (("<think>a", "b"), ("</think>c", "d"))
        ]
        + [make_chunk({}, "stop", index=1), make_chunk({}, "stop")],
        *make_implied(),
    )
    messages = [
        (choice["message"].get("reasoning_content"), choice["message"]["content"])
        for choice in fold_choices(out)
    ]
    assert messages == [("a", "c"), (None, "bd")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_an_upstream_that_separates_after_all_is_believed(field: str) -> None:
    out = run_filters(
        [
            make_chunk({field: "a"}),
            make_chunk({"content": "b"}),
            make_chunk({"content": "c"}, "stop"),
        ],
        *make_implied(),
    )
    assert list_deltas(out) == [{field: "a"}, {"content": "b"}, {"content": "c"}]
    out = run_filters(
        [make_chunk({field: "a"}), make_chunk({"content": "<answer>b</answer>"}, "stop")],
        *make_implied(),
    )
    assert list_deltas(out) == [{field: "a"}, {"content": "b"}]


def test_content_that_is_no_text_passes() -> None:
    for odd in ([{"type": "text", "text": "a"}], 5, True):
        out = run_filters(
            [make_chunk({"content": odd}), make_chunk({"content": odd}, "stop")],
            *make_implied(),
            ThinkingRenderer("inline"),
        )
        assert list_deltas(out) == [{"content": odd}] * 2


# --- which filters a model needs ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("thinking_format", "thinking_", "expected"),
    [
        ("separate", "reasoning", []),
        ("separate", "inline", [ThinkingRenderer]),
        ("separate", "hidden", [ThinkingRenderer]),
        ("tagged", "reasoning", [ThinkingSplitter]),
        ("implied", "hidden", [ThinkingSplitter, ThinkingRenderer]),
    ],
)
def test_a_model_gets_the_filters_that_its_thinking_needs(
    thinking_format: str, thinking_: str, expected: list[type]
) -> None:
    model = UpstreamModel("u", thinking_format=thinking_format, thinking=thinking_)
    for endpoint, wanted in ((CHAT, expected), (COMPLETIONS, [])):
        request = ChatRequest("1", endpoint, "m", {"model": "m", "messages": []})
        assert [
            type(step) for step in filters.choose_filters(request, model, Attempt("p", "m"))
        ] == wanted
