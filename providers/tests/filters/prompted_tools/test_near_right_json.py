"""Calls whose JSON is nearly right are mended if they can mean one thing only."""

# ruff: noqa: RUF001 - the signs are those that models write

import json
from typing import Any

import pytest

from providers.filters.call_texts import json_mender
from providers.filters.call_texts.json_mender import find_only_reading
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.written_call import WrittenCall
from proxysite.testing.counted_work import WorkCounter

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city"],
}
TOOLS: dict[str, Any] = {
    "weather": {"name": "weather", "parameters": SCHEMA},
    "clock": {"name": "clock"},
}
GRAZ = [("weather", {"city": "Graz"})]


def read_items(*pieces: str, is_cut_off: bool = False) -> list[Any]:
    scanner = CallScanner(TOOLS)
    items = [item for piece in pieces for item in scanner.feed(piece)]
    return [
        (item.name, json.loads(item.arguments)) if isinstance(item, WrittenCall) else item
        for item in [*items, *scanner.finish_text(is_cut_off=is_cut_off)]
    ]


def tag(content: str) -> str:
    return f"<tool_call>{content}</tool_call>"


@pytest.mark.parametrize(
    ("written", "calls"),
    [
        ('{"name": "weather", "arguments": {"city": "Graz",},}', GRAZ),
        ("{'name': 'weather', 'arguments': {'city': 'Graz'}}", GRAZ),
        ("{“name”: “weather”, “arguments”: {“city”: “Graz”}}", GRAZ),
        ('{"name"："weather"，"arguments"：{"city"："Graz"}}', GRAZ),
        ('{"name": "weather", "arguments": {"city": "Graz"}', GRAZ),
        ('{name: "weather", arguments: {city: "Graz"}}', GRAZ),
        (
            '{"name": "weather", "arguments": {"city": "the "big" one", "days": 2}}',
            [("weather", {"city": 'the "big" one', "days": 2})],
        ),
        (
            "{'name': 'weather', 'arguments': {'city': 'L'Aquila', 'tags': ['a', 'b',]}}",
            [("weather", {"city": "L'Aquila", "tags": ["a", "b"]})],
        ),
        (
            '{"name": "weather", "arguments": {"city": "Graz", "tags": ["a", "b"}}',
            [("weather", {"city": "Graz", "tags": ["a", "b"]})],
        ),
        (
            r'{"name": "weather", "arguments": {"city": "\d+ \u4eac"}}',
            [("weather", {"city": r"\d+ 京"})],
        ),
        ("{'name': 'clock', 'arguments': {}}", [("clock", {})]),
    ],
)
def test_one_reading_is_a_call_wherever_the_text_is_cut(written: str, calls: Any) -> None:
    text = f"{tag(written)}\nSo."
    assert read_items(tag(written)) == calls
    for cut in range(len(text)):
        assert read_items(text[:cut], text[cut:])[:1] == calls
    assert read_items(*tag(written)) == calls


@pytest.mark.parametrize(
    "written",
    [
        '{"name": "weather", "arguments": {"town": "Graz",}}',
        '{"name": "weather", "arguments": {"city": 5,}}',
        '{"name": "weather", "arguments": {"days": 5,}}',
        "{'name': 'wether', 'arguments': {'city': 'Graz'}}",
        '{"name" "weather", "arguments": {"city": "Graz"}}',
        "{'name': 'weather', 'arguments': }",
        "so {it} is",
    ],
)
def test_what_does_not_fit_the_schema_stays_text(written: str) -> None:
    assert "".join(read_items(tag(written))) == tag(written)
    assert "".join(read_items(*tag(written))) == tag(written)


def test_two_readings_are_none_unless_one_alone_means_something() -> None:
    readings: list[Any] = []
    text = '{"a": "x" "y", "b": "z"}'

    def record(value: Any) -> Any:
        readings.append(value)
        return value

    assert find_only_reading(text, record, may_be_cut=False)
    assert readings == [{"a": 'x" "y', "b": "z"}]
    either = '{"a": "b": "c", "d": 1}'  # {'a": "b': "c"} or {"a": 'b": "c'}
    assert find_only_reading(either, lambda value: value, may_be_cut=False) is None
    one = find_only_reading(either, lambda value: value.get("a"), may_be_cut=False)
    assert one == 'b": "c'


def test_an_answer_that_was_cut_off_gets_no_brackets() -> None:
    cut = '<tool_call>{"name": "weather", "arguments": {"city": "Gra'
    assert read_items(cut, is_cut_off=True) == [cut]
    open_call = '<tool_call>{"name": "weather", "arguments": {"city": "Graz"'
    assert read_items(open_call, is_cut_off=True) == [open_call]
    assert read_items(open_call) == GRAZ


def test_text_behind_a_mended_call_is_text_and_further_calls_count() -> None:
    broken = tag('{"name": "weather", "arguments": {"city": "Graz}}')
    good = tag('{"name": "clock", "arguments": {}}')
    assert read_items(f"{broken}\n{good}")[-1] == ("clock", {})
    mended = tag("{'name': 'weather', 'arguments': {'city': 'Graz'}}")
    assert read_items(f"{mended} and {good}.") == [*GRAZ, " and ", ("clock", {}), "."]


def test_two_objects_between_one_pair_of_tags_are_two_calls() -> None:
    both = '{"name": "weather", "arguments": {"city": "Graz"}}\n{"name": "clock", "arguments": {}}'
    assert read_items(tag(both)) == [*GRAZ, ("clock", {})]
    assert read_items(*tag(both)) == [*GRAZ, ("clock", {})]


@pytest.mark.parametrize("language", ["json", "", "tool_call"])
def test_a_list_of_calls_in_a_fence_is_calls_if_all_its_items_are(language: str) -> None:
    calls = (
        '[{"name": "weather", "arguments": {"city": "Graz"}}, {"name": "clock", "arguments": {}}]'
    )
    text = f"```{language}\n{calls}\n```"
    assert read_items(text) == read_items(*text) == [*GRAZ, ("clock", {})]
    other = text.replace("clock", "cloak")
    assert "".join(read_items(other)) == "".join(read_items(*other)) == other


@pytest.mark.parametrize("hostile", ["{'a':", '"', "'", '{"a":"', "[", "“", '","', "{'a':'b',"])
def test_four_times_the_text_takes_about_four_times_the_work(
    monkeypatch: pytest.MonkeyPatch, hostile: str
) -> None:
    # the search of both texts still ends there, and counted work takes a hundred times as long
    monkeypatch.setattr(json_mender, "MOST_STEPS", json_mender.MOST_STEPS // 10)

    def count_work(chars: int) -> int:
        text = hostile * (chars // len(hostile))

        def find_reading() -> None:
            assert find_only_reading(text, lambda value: None, may_be_cut=True) is None

        return WorkCounter().count_steps(find_reading)

    assert count_work(4_000) < 6 * count_work(1_000)


@pytest.mark.timeout(60)
def test_many_broken_calls_are_no_hang() -> None:
    for hostile in ("{'a':", '"', "[", "{'a':'b',"):
        text = tag("{" + hostile * 50)
        assert "".join(map(str, read_items(*[text] * 40))).count("<tool_call>") == 40
