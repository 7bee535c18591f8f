"""Tool calls written as text become OpenAI's tool calls in the chunks of an answer."""

import copy
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from providers.filters import choose_filters
from providers.filters.prompted_tools.call_reader import CallReader
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.request import ChatRequest, UpstreamModel
from providers.tests.filters.prompted_tools.call_texts import CANONICAL, FORMS, GRAZ, PROSE, TOOLS

REQUEST = ChatRequest("0" * 32, "chat/completions", "m", {})


def build_request(**fields: Any) -> ChatRequest:
    tools = [{"type": "function", "function": tool} for tool in TOOLS.values()]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools} | fields
    return ChatRequest("0" * 32, "chat/completions", "m", body)


def make_reader(**fields: Any) -> tuple[CallReader, Attempt]:
    attempt = Attempt("p", "m")
    return CallReader(build_request(**fields), attempt), attempt


def make_answer(*texts: str, finish: str = "stop", **first: Any) -> list[Chunk]:
    texts_in_chunks = [
        make_delta(REQUEST, role="assistant", content=None, **first),
        *(make_delta(REQUEST, content=text) for text in texts),
    ]
    return [*texts_in_chunks, make_delta(REQUEST, finish_reason=finish)]


def run_filter(filter_: CallReader, chunks: list[Chunk]) -> list[Chunk]:
    return [out for chunk in copy.deepcopy(chunks) for out in filter_.filter_chunks([chunk])]


def join_message(chunks: list[Chunk]) -> Any:
    """The choice that OpenAI's own client puts together, each chunk checked against the official
    schema.
    """
    state = ChatCompletionStreamState()
    for chunk in chunks:
        list(state.handle_chunk(ChatCompletionChunk.model_validate(chunk)))
    return state.get_final_completion().choices[0]


def test_calls_become_tool_calls_with_index_id_type_and_a_finish_reason() -> None:
    out = run_filter(
        make_reader()[0],
        make_answer("Let me", " see.\n", CANONICAL[:20], CANONICAL[20:], f"\n{CANONICAL}"),
    )
    parts = [part for chunk in out for part in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [part["index"] for part in parts] == [0, 1]
    assert len({part["id"] for part in parts}) == 2
    assert all(part["id"].startswith("call_") and part["type"] == "function" for part in parts)
    choice = join_message(out)
    assert choice.finish_reason == "tool_calls"
    assert choice.message.role == "assistant"
    assert choice.message.content == "Let me see.\n"
    assert [call.function.arguments for call in choice.message.tool_calls] == [GRAZ, GRAZ]


@pytest.mark.parametrize(
    "fields", [{}, {"tool_choice": "required"}, {"parallel_tool_calls": False}]
)
def test_how_an_answer_is_cut_into_chunks_changes_nothing(fields: dict[str, Any]) -> None:
    text = f"Let me see `{{` <b>.\n{CANONICAL}\nand\n{FORMS['fenced call']}\n{PROSE['plain']}"
    results = []
    for size in (1, 2, 3, 5, 8, 13, len(text)):
        choice = join_message(
            run_filter(
                make_reader(**fields)[0],
                make_answer(*(text[at : at + size] for at in range(0, len(text), size))),
            )
        )
        calls = [
            (call.function.name, call.function.arguments) for call in choice.message.tool_calls
        ]
        results.append((choice.finish_reason, choice.message.content, calls))
    assert all(result == results[0] for result in results)
    assert results[0][2] == [("weather", GRAZ)] * (1 if "parallel_tool_calls" in fields else 2)
    assert results[0][1].startswith("Let me see `{` <b>.\n")
    assert results[0][1].endswith(PROSE["plain"])


def test_an_answer_that_is_only_a_call_has_no_content() -> None:
    choice = join_message(run_filter(make_reader()[0], make_answer(f"\n\n{CANONICAL}\n")))
    assert choice.message.content is None
    assert len(choice.message.tool_calls) == 1


def test_an_answer_without_a_call_passes_as_it_was() -> None:
    given_ = make_answer("No ", "{tools} ", "here.")
    assert run_filter(make_reader()[0], given_) == given_


def test_what_is_held_at_the_end_goes_out_before_the_finish_reason() -> None:
    out = run_filter(make_reader()[0], make_answer("a", "<tool_", finish="length"))
    assert [chunk["choices"][0]["delta"].get("content") for chunk in out] == [None, "a", "<tool_"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in out] == [None, None, "length"]


def test_one_chunk_with_text_a_call_and_the_finish_reason_is_split() -> None:
    chunk = make_delta(
        REQUEST, finish_reason="stop", role="assistant", content=f"a\n{CANONICAL}"
    ) | {"usage": {"x": 1}}
    chunk["choices"][0]["logprobs"] = {"content": []}
    out = run_filter(make_reader()[0], [chunk])
    assert [chunk["choices"][0]["finish_reason"] for chunk in out if chunk["choices"]] == [
        None,
        None,
        "tool_calls",
    ]
    assert [chunk["choices"][0]["logprobs"] for chunk in out if chunk["choices"]] == [
        {"content": []},
        None,
        None,
    ]
    assert [chunk["usage"] for chunk in out if chunk.get("usage")] == [{"x": 1}]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_cut_says_so_with_its_calls(reason: str) -> None:
    called, last = run_filter(make_reader()[0], make_answer(CANONICAL, finish=reason))[-2:]
    assert len(called["choices"][0]["delta"]["tool_calls"]) == 1
    assert last["choices"][0]["finish_reason"] == reason


def test_thinking_without_a_call_goes_out_at_once() -> None:
    thought = make_delta(REQUEST, role="assistant", reasoning_content="I could call a tool.")
    filter_ = make_reader(tool_choice="required")[0]
    assert filter_.filter_chunks([copy.deepcopy(thought)]) == [thought]
    (held,) = filter_.filter_chunks([make_delta(REQUEST, reasoning_content="so", content="a")])
    assert held["choices"][0]["delta"] == {"reasoning_content": "so"}


def test_choices_are_read_each_by_itself() -> None:
    chunks = make_answer("a ", CANONICAL)
    other = copy.deepcopy(make_answer(CANONICAL[:30], CANONICAL[30:]))
    for chunk in other:
        chunk["choices"][0]["index"] = 1
    mixed = [chunk for pair in zip(chunks, other, strict=True) for chunk in pair]
    out = run_filter(make_reader()[0], mixed)
    for index in (0, 1):
        own = [chunk for chunk in out if chunk["choices"][0]["index"] == index]
        assert sum(len(chunk["choices"][0]["delta"].get("tool_calls", ())) for chunk in own) == 1
        assert own[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_two_choices_in_one_chunk_are_kept() -> None:
    chunk = make_delta(REQUEST, content="a")
    chunk["choices"].append({**chunk["choices"][0], "index": 1, "delta": {"content": "b <tool"}})
    (out,) = make_reader()[0].filter_chunks([chunk])
    assert [choice["delta"]["content"] for choice in out["choices"]] == ["a", "b "]


def test_a_chunk_of_usage_passes() -> None:
    chunk: Chunk = {"choices": [], "usage": {"prompt_tokens": 1}}
    assert make_reader()[0].filter_chunks([chunk]) == [chunk]


def test_with_a_named_choice_only_that_tool_counts() -> None:
    tool_choice = {"type": "function", "function": {"name": "get-time.v2"}}
    filter_, attempt = make_reader(tool_choice=tool_choice)
    choice = join_message(run_filter(filter_, make_answer(CANONICAL)))
    assert (choice.message.content, choice.finish_reason, attempt.lacks_tool_call) == (
        CANONICAL,
        "stop",
        True,
    )
    filter_, attempt = make_reader(tool_choice=tool_choice)
    choice = join_message(
        run_filter(filter_, make_answer(CANONICAL.replace('"weather"', '"get-time.v2"')))
    )
    assert (choice.finish_reason, attempt.lacks_tool_call) == ("tool_calls", False)


def test_without_parallel_calls_only_the_first_counts() -> None:
    choice = join_message(
        run_filter(make_reader(parallel_tool_calls=False)[0], make_answer(CANONICAL, CANONICAL))
    )
    assert len(choice.message.tool_calls) == 1
    assert choice.message.content is None


def test_an_answer_that_must_call_is_held_until_it_does() -> None:
    filter_, attempt = make_reader(tool_choice="required")
    assert filter_.filter_chunks([make_delta(REQUEST, content="Let me see.")]) == []
    out = filter_.filter_chunks([make_delta(REQUEST, content=CANONICAL)])
    assert out[0]["choices"][0]["delta"] == {"content": "Let me see."}
    assert "tool_calls" in out[1]["choices"][0]["delta"]
    (after,) = filter_.filter_chunks([make_delta(REQUEST, content=" So.")])
    assert after["choices"][0]["delta"] == {"content": " So."}
    assert not attempt.lacks_tool_call


def test_that_no_call_came_is_reported_and_the_text_given_back() -> None:
    filter_, attempt = make_reader(tool_choice="required")
    *held, last = make_answer("No, ", "<tool", " I will not.")
    assert [out["choices"][0]["delta"] for out in run_filter(filter_, held)] == [
        {"role": "assistant", "content": None}
    ]
    assert not attempt.lacks_tool_call
    out = run_filter(filter_, [last])
    assert attempt.lacks_tool_call
    assert (
        "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in out)
        == "No, <tool I will not."
    )
    assert out[-1]["choices"][0]["finish_reason"] == "stop"


def test_several_choices_are_not_asked_for_again() -> None:
    filter_, attempt = make_reader(tool_choice="required", n=2)
    run_filter(filter_, make_answer("No."))
    assert not attempt.lacks_tool_call


def test_a_caller_of_the_older_kind_gets_a_function_call() -> None:
    filter_, _ = make_reader(tools=None, functions=list(TOOLS.values()))
    out = run_filter(filter_, make_answer(CANONICAL, CANONICAL))
    choice = join_message(out)
    assert choice.message.function_call.name == "weather"
    assert choice.finish_reason == "function_call"
    assert sum("function_call" in chunk["choices"][0]["delta"] for chunk in out) == 1


@pytest.mark.parametrize(
    ("tools", "fields", "count"),
    [
        ("prompt", {}, 1),
        ("prompt", {"tool_choice": "none"}, 0),
        ("prompt", {"tools": None}, 0),
        ("native", {}, 0),
        ("none", {}, 0),
    ],
)
def test_who_needs_the_filter(tools: str, fields: dict[str, Any], count: int) -> None:
    model = UpstreamModel("m", tools=tools)
    assert len(choose_filters(build_request(**fields), model, Attempt("p", "m"))) == count


def test_a_call_in_thinking_that_is_shown_in_the_text_is_none() -> None:
    model = UpstreamModel("m", tools="prompt", thinking_format="tagged", thinking="inline")
    steps = choose_filters(build_request(), model, Attempt("p", "m"))
    chunks = make_answer(f"<think>I could\n{CANONICAL}\n", "</think>", "No need.")
    for step in steps:
        chunks = run_filter(step, chunks)  # type: ignore[arg-type]
    choice = join_message(chunks)
    assert choice.message.tool_calls is None
    assert CANONICAL in choice.message.content
    assert choice.message.content.endswith("No need.")


def test_a_call_behind_thinking_counts() -> None:
    model = UpstreamModel("m", tools="prompt", thinking_format="tagged", thinking="hidden")
    chunks = make_answer(
        f"<think>I could\n{CANONICAL.replace('Graz', 'Wien')}\n</think>\n\n{CANONICAL}"
    )
    for step in choose_filters(build_request(), model, Attempt("p", "m")):
        chunks = run_filter(step, chunks)  # type: ignore[arg-type]
    choice = join_message(chunks)
    assert [call.function.arguments for call in choice.message.tool_calls] == [GRAZ]
    assert choice.finish_reason == "tool_calls"
