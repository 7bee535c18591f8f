"""The tool calls of a stream conform: indexes, ids, names and arguments."""

import json
import random
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from providers.tests.filters.conforming import (
    conform_deltas,
    conform_stream,
    join_message,
    make_chunk,
)


def make_call(
    index: int | None = None,
    *,
    call_id: str | None = None,
    name: str | None = None,
    arguments: str = "",
) -> dict[str, Any]:
    """Make one part of a tool call with only the fields that are given."""
    function = {"arguments": arguments, "name": name}
    part: dict[str, Any] = {"index": index, "id": call_id}
    fields = {key: value for key, value in part.items() if value is not None}
    return fields | {
        "function": {key: value for key, value in function.items() if value is not None}
    }


def list_calls(*parts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The calls OpenAI's client sees in a stream of these tool call deltas, as (id, name,
    arguments).
    """
    out = conform_stream(
        [make_chunk({"tool_calls": [part]}) for part in parts] + [make_chunk({}, "tool_calls")]
    )
    calls = join_message(out).tool_calls
    assert all(call.type == "function" for call in calls)
    return [(call.id, call.function.name, call.function.arguments) for call in calls]


def test_calls_that_are_interleaved_by_index_are_told_apart() -> None:
    calls = list_calls(
        make_call(0, call_id="a", name="f", arguments='{"x"'),
        make_call(1, call_id="b", name="g"),
        make_call(0, arguments=": "),
        make_call(1, arguments='{"é\\u00'),
        make_call(0, arguments="1}"),
        make_call(1, arguments='e9": "\\n"}'),
    )
    assert calls == [("a", "f", '{"x": 1}'), ("b", "g", '{"é\\u00e9": "\\n"}')]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    calls = list_calls(
        make_call(call_id="a", name="f", arguments="{"),
        make_call(call_id="b", name="g", arguments="["),
        make_call(call_id="a", arguments="}"),
        make_call(call_id="b", arguments="]"),
    )
    assert calls == [("a", "f", "{}"), ("b", "g", "[]")]


def test_a_part_without_index_and_id_belongs_to_the_call_before_it() -> None:
    calls = list_calls(
        make_call(call_id="a", name="f", arguments="{"),
        make_call(arguments="}"),
        make_call(name="g"),
        make_call(arguments="[]"),
    )
    assert [call[1:] for call in calls] == [("f", "{}"), ("g", "[]")]


def test_a_named_call_without_an_index_never_lands_on_one_that_is_there() -> None:
    out = conform_deltas(
        [
            make_chunk({"tool_calls": [part]})
            for part in (make_call(1, call_id="a", name="f"), make_call(call_id="b", name="g"))
        ]
    )
    assert [(delta["tool_calls"][0]["index"], delta["tool_calls"][0]["id"]) for delta in out] == [
        (0, "a"),
        (1, "b"),
    ]


def test_whole_calls_in_one_delta_get_an_index_each() -> None:
    out = conform_deltas(
        [
            make_chunk(
                {"tool_calls": [make_call(call_id="a", name="f"), make_call(call_id="b", name="g")]}
            )
        ]
    )
    assert [(call["index"], call["id"], call["type"]) for call in out[0]["tool_calls"]] == [
        (0, "a", "function"),
        (1, "b", "function"),
    ]


@pytest.mark.parametrize(
    "later", ["a", "", "other", None], ids=["the same", "empty", "another", "none"]
)
def test_the_id_of_a_call_is_its_first_one_whatever_later_parts_say(later: str | None) -> None:
    assert list_calls(
        make_call(0, call_id="a", name="f", arguments="{"),
        make_call(0, call_id=later, arguments="}"),
    ) == [("a", "f", "{}")]


@pytest.mark.parametrize(
    "first", [make_call(0, name="f"), make_call(0, call_id="", name="f")], ids=["missing", "empty"]
)
def test_a_call_without_an_id_gets_a_lasting_one(first: dict[str, Any]) -> None:
    [(call_id, name, arguments)] = list_calls(
        first, make_call(0, arguments="{}"), make_call(0, call_id="late")
    )
    assert call_id.startswith("call_")
    assert len(call_id) == len("call_") + 24
    assert (name, arguments) == ("f", "{}")


def test_two_calls_that_bear_one_id_get_two() -> None:
    calls = list_calls(
        make_call(0, call_id="call_0", name="f", arguments="{}"),
        make_call(1, call_id="call_0", name="g", arguments="{}"),
    )
    assert len({call_id for call_id, _, _ in calls}) == 2


def test_each_choice_has_calls_of_its_own() -> None:
    out = conform_deltas(
        [
            make_chunk({"tool_calls": [make_call(0, call_id=call_id, name="f")]}, index=index)
            for index, call_id in enumerate("ab")
        ]
    )
    assert [delta["tool_calls"][0]["id"] for delta in out] == ["a", "b"]


def test_arguments_that_are_an_object_become_their_json() -> None:
    whole_call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": [1, "é"]}}}
    [(_, _, arguments)] = list_calls(whole_call)
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
    for chunk in conform_stream([make_chunk(junk), make_chunk({}, "stop")]):
        ChatCompletionChunk.model_validate(chunk)
        for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
            assert isinstance(call["index"], int)
            assert isinstance(call["id"], str)
            assert isinstance(call["function"]["name"], str)
            assert isinstance(call["function"]["arguments"], str)


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
        for n, (call_id, name, _) in enumerate(meant):
            parts.append(make_call(n if indexed else None, call_id=call_id, name=name))
            for _ in range(draw.randrange(3)):
                parts += take_part(draw, rest, list(range(n + 1)), meant, ids, indexed)
        while any(rest.values()):
            parts += take_part(draw, rest, [n for n in rest if rest[n]], meant, ids, indexed)
        assert list_calls(*parts) == meant


def take_part(
    draw: random.Random,
    rest: dict[int, list[str]],
    among: list[int],
    meant: list[Any],
    ids: str,
    indexed: bool,
) -> list[dict[str, Any]]:
    n = draw.choice(among)
    call_id = {"first": None, "always": meant[n][0], "empty later": ""}[ids]
    return (
        [make_call(n if indexed else None, call_id=call_id, arguments=rest[n].pop(0))]
        if rest[n]
        else []
    )
