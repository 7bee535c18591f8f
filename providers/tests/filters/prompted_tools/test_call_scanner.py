"""Tool calls found in a model's text, and text that is no call left as it is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.filters.prompted_tools import (
    call_scanner,
    call_syntax,
    code_scanner,
    json_scanner,
    tag_scanner,
)
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.tests.filters.prompted_tools.call_texts import (
    CANONICAL,
    FORMS,
    GRAZ,
    OBJECT,
    PROSE,
    TOOLS,
)
from proxysite.testing.counted_work import WorkCounter

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=200)
Items = list[str | tuple[str, Any]]


def read_items(*pieces: str, parallel: bool = True, tools: Any = TOOLS) -> Items:
    """Text and (name, arguments), in order, neighbouring texts joined."""
    scan = CallScanner(tools, is_parallel=parallel)
    items: Items = []
    for item in [*(item for piece in pieces for item in scan.feed(piece)), *scan.finish_text()]:
        if isinstance(item, WrittenCall):
            items.append((item.name, json.loads(item.arguments)))
        elif items and isinstance(items[-1], str):
            items[-1] += item
        else:
            items.append(item)
    return items


WEATHER_CALL: Items = [("weather", {"city": "Graz"})]


# --- forms ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_is_a_call(text: str) -> None:
    assert read_items(text) == WEATHER_CALL


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_may_come_character_by_character_and_after_text(text: str) -> None:
    assert read_items(*text) == WEATHER_CALL
    assert read_items("Let me see.\n\n", *text) == ["Let me see.\n\n", *WEATHER_CALL]


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_no_form_counts_with_a_name_that_is_no_tool(text: str) -> None:
    other = text.replace("weather", "wether")
    assert read_items(other) == [other]
    assert read_items(*other) == [other]


NESTED = {"city": {"a": [{"b": {"c": "}{][\"'`</tool_call>"}}], "d": {}}, "e": "\\", "f": "\n"}


@pytest.mark.parametrize(
    "form",
    [
        "<tool_call>{call}</tool_call>",
        "```json\n{call}\n```",
        '{{"tool_calls": [{call}]}}',
        "{call}",
        "<function=weather>{arguments}</function>",
        "调用函数:weather 参数:{arguments}",
        "call function: weather arguments: {arguments}",
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_arguments_may_be_nested_and_hold_any_character(form: str, as_text: bool) -> None:
    arguments = json.dumps(NESTED)
    call = json.dumps({"name": "weather", "arguments": arguments if as_text else NESTED})
    text = form.format(call=call, arguments=arguments)
    assert read_items(text) == read_items(*text) == [("weather", NESTED)]


def test_a_name_that_is_no_text_leaves_the_other_name_of_the_tool() -> None:
    text = '{"name": null, "tool": "weather", "arguments": {"city": "Graz"}}'
    assert read_items(text) == read_items(*text) == WEATHER_CALL


def test_lines_may_be_broken_within_a_text() -> None:
    text = (
        '<tool_call>{"name": "weather", "arguments": {"city": "two\nlines\tand a tab"}}</tool_call>'
    )
    assert read_items(text) == [("weather", {"city": "two\nlines\tand a tab"})]


@pytest.mark.parametrize(
    "nothing", ['"arguments": {}', '"arguments": ""', '"arguments": null', '"id": "x"']
)
def test_no_arguments_are_an_empty_object(nothing: str) -> None:
    assert read_items(f'<tool_call>{{"name": "get-time.v2", {nothing}}}</tool_call>') == [
        ("get-time.v2", {})
    ]


def test_what_stands_between_tags_has_the_type_that_the_schema_says() -> None:
    text = (
        '<invoke name="weather"><parameter name="city">8010</parameter><parameter '
        'name="days">3</parameter></invoke>'
    )
    assert read_items(text) == [("weather", {"city": "8010", "days": 3})]


def test_several_calls_in_one_text_keep_their_order_and_the_text_between_them() -> None:
    text = f"First:\n{CANONICAL}\n{CANONICAL}\nthen\n```json\n{OBJECT}\n```\n{OBJECT}\n"
    assert read_items(text) == [
        "First:\n",
        *WEATHER_CALL,
        *WEATHER_CALL,
        "\nthen\n",
        *WEATHER_CALL,
        *WEATHER_CALL,
    ]


def test_several_calls_in_one_list_are_several() -> None:
    both = (
        '{"tool_calls": [{"name": "weather", "arguments": {"city": "Graz"}}, {"name": '
        '"get-time.v2"}]}'
    )
    assert read_items(both) == [*WEATHER_CALL, ("get-time.v2", {})]
    assert read_items(f"```json\n{OBJECT}\n{OBJECT}\n```") == WEATHER_CALL * 2
    invoked = FORMS["invoke"]
    assert read_items(f"<function_calls>{invoked}\n{invoked}</function_calls>") == WEATHER_CALL * 2


def test_of_calls_that_must_not_come_at_once_only_the_first_counts() -> None:
    assert read_items(f"a\n{CANONICAL}\n{CANONICAL}\n", parallel=False) == ["a\n", *WEATHER_CALL]
    assert (
        read_items(f"<tool_call>[{OBJECT}, {OBJECT}]</tool_call>", parallel=False) == WEATHER_CALL
    )


# --- precision ------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_what_is_no_call_stays_as_it_is(text: str) -> None:
    assert read_items(text) == [text]
    assert read_items(*text) == [text]


def test_a_call_behind_prose_code_and_thinking_counts() -> None:
    before = (
        PROSE["plain"]
        + PROSE["another language"]
        + PROSE["inline code"]
        + PROSE["in thinking between tags"]
    )
    assert read_items(f"{before}\n{CANONICAL}") == [f"{before}\n", *WEATHER_CALL]


def test_a_backtick_that_is_never_closed_ends_with_its_line() -> None:
    assert read_items(f"A lone ` here.\n{CANONICAL}") == ["A lone ` here.\n", *WEATHER_CALL]


# --- streaming ------------------------------------------------------------------------------------
def feed_pieces(*pieces: str) -> list[list[str | WrittenCall]]:
    scan = CallScanner(TOOLS)
    return [scan.feed(piece) for piece in pieces]


def test_text_goes_out_at_once() -> None:
    texts = ["Hello", " there, ", "a < b", " and {x}", " `code", " in it` ", "c d\n", "* x\n"]
    assert feed_pieces(*texts) == [[text] for text in texts]


def test_a_possible_beginning_is_held_and_given_back_as_soon_as_it_is_none() -> None:
    assert feed_pieces("So <tool", "_c", "at> ok") == [["So "], [], ["<tool_cat> ok"]]
    assert feed_pieces('{"na', 'me": "w', 'ether", ', '"x": 1') == [
        [],
        [],
        ['{"name": "wether", '],
        ['"x": 1'],
    ]
    assert feed_pieces('{"items"', ": [", '1, {"b": ') == [[], ['{"items": ['], ['1, {"b": ']]


def test_a_call_goes_out_as_soon_as_it_is_certain() -> None:
    outputs = feed_pieces("a\n<tool_call>", OBJECT[:-1], "}", "\n</tool_call>")
    assert outputs == [["a\n"], [], [WrittenCall("weather", GRAZ)], []]
    assert feed_pieces(OBJECT, " ", "\n") == [[], [], [WrittenCall("weather", GRAZ)]]


PARTS = [
    *FORMS.values(),
    *PROSE.values(),
    "\n",
    " ",
    "Hi. ",
    "`",
    "```",
    "```json\n",
    "~~~",
    "<",
    "{",
    '{"',
    "}",
    '"',
    "\\",
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "<function_calls>",
    "call function:",
    "调",
    "[",
]


@FAST
@given(st.lists(st.sampled_from(PARTS), max_size=8), st.data())
def test_how_a_text_is_cut_changes_nothing(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=30)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = read_items(text)
    assert read_items(*pieces) == whole
    assert read_items(*text) == whole


@FAST
@given(st.text(st.sampled_from('`~<>{}[]":,\\ \n/=abctool_')))
def test_text_without_a_tools_name_is_never_changed(text: str) -> None:
    assert "".join(str(item) for item in read_items(*text)) == text


HOSTILE = [
    "{",
    "<tool_call>",
    "`",
    '"',
    "\\",
    "<",
    '{"',
    '{"a":',
    '[{"',
    "<tool_call>{",
    "```json\n",
    "~",
    "\n",
    "`a",
    "c",
    "<function_calls><tool_call>",
    '{"name":"weather","arguments":"\\',
    '{"a":[1,',
    "call function: ",
    "[1,",
    "<think>",
    '<invoke name="weather"><parameter name="',
    "调用函数:weather 参数:{",
    '<tool_call>{"name":"weather"',
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_eight_times_the_text_takes_about_eight_times_the_work(
    hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = WorkCounter()
    modules = call_scanner, call_syntax, code_scanner, json_scanner, tag_scanner
    counter.watch_patterns(monkeypatch, *modules)

    def count_steps(size: int) -> int:
        text = hostile * (size // len(hostile))
        pieces = [text[start : start + 8] for start in range(0, size, 8)]
        return counter.count_steps(lambda: scan_pieces(pieces))

    assert count_steps(2_400) < 16 * count_steps(300)  # the square would be 64 times as much


def scan_pieces(pieces: list[str]) -> None:
    scan = CallScanner(TOOLS)
    for piece in pieces:
        scan.feed(piece)
    scan.finish_text()


@pytest.mark.timeout(60)  # it takes a few seconds; the square of it would take hours
def test_a_megabyte_is_no_hang() -> None:
    for hostile in ("{", "<tool_call>", "`", '"', "\\", "<"):
        read_items(hostile * (1_000_000 // len(hostile)))
