"""Calls of Cohere, Granite, InternLM, Phi, MiniMax M3 and gpt-oss beyond one call in one text."""

import json
from typing import Any

import pytest

from providers.filters.call_texts.minimax_arguments import parse_minimax_arguments
from providers.filters.call_texts.schema_types import ArgumentSchema
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.protocol.dialect import UNMISTAKABLE_FORMS

TOOLS: dict[str, Any] = {
    "weather": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
    "save": {
        "name": "save",
        "parameters": {
            "type": "object",
            "properties": {
                "rows": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"id": {"type": "integer"}}},
                },
                "options": {"type": "object"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}
GRAZ = ("weather", {"city": "Graz"})
WIEN = ("weather", {"city": "Wien"})
NS = "]<]minimax[>["


def read_items(*pieces: str) -> list[Any]:
    scanner = CallScanner(TOOLS, call_forms=UNMISTAKABLE_FORMS)
    items: list[Any] = []
    fed = [item for piece in pieces for item in scanner.feed(piece)]
    for item in [*fed, *scanner.finish_text()]:
        if isinstance(item, WrittenCall):
            items.append((item.name, json.loads(item.arguments)))
        elif items and isinstance(items[-1], str):
            items[-1] += item
        else:
            items.append(item)
    return items


def call(city: str, *, name_key: str = "name", key: str = "arguments") -> str:
    return json.dumps({name_key: "weather", key: {"city": city}})


def invoke(body: str) -> str:
    return f'{NS}<invoke name="weather">{body}{NS}</invoke>\n'


def city(name: str) -> str:
    return f"{NS}<city>{name}{NS}</city>"


TWO_CALLS = {
    "cohere": "<|START_ACTION|>[\n    "
    + call("Graz", name_key="tool_name", key="parameters")
    + ",\n    "
    + call("Wien", name_key="tool_name", key="parameters")
    + "\n]<|END_ACTION|><|END_OF_TURN_TOKEN|>",
    "granite": f"<|tool_call|>[{call('Graz')}, {call('Wien')}]<|end_of_text|>",
    "granite 20b": f"<function_call> {call('Graz')} <function_call> {call('Wien')}",
    "internlm": "".join(
        f"<|action_start|><|plugin|>\n{call(name, key='parameters')}<|action_end|>"
        for name in ("Graz", "Wien")
    ),
    "intern-s1": "\n".join(
        f"<|action_start|> <|plugin|>\n{call(name, key='parameters')}<|action_end|>"
        for name in ("Graz", "Wien")
    ),
    "phi": f"<|tool_call|>[{call('Graz')}, {call('Wien')}]<|/tool_call|>",
    "phi functools": f"functools[\n  {call('Graz')},\n  {call('Wien')}\n]",
    "minimax m3": f"{NS}<tool_call>\n{invoke(city('Graz'))}{invoke(city('Wien'))}{NS}</tool_call>",
    "minimax m3 bare": invoke(city("Graz")) + invoke(city("Wien")),
    "harmony": "".join(
        "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json"
        f'<|message|>{{"city": "{name}"}}<|call|>'
        for name in ("Graz", "Wien")
    ),
}


@pytest.mark.parametrize("text", TWO_CALLS.values(), ids=TWO_CALLS)
def test_two_calls_are_two_wherever_the_text_is_cut(text: str) -> None:
    assert read_items(text) == [GRAZ, WIEN]
    assert read_items(*text) == [GRAZ, WIEN]
    for cut in range(len(text)):
        assert read_items("So: ", text[:cut], text[cut:]) == ["So: ", GRAZ, WIEN]


@pytest.mark.parametrize("text", TWO_CALLS.values(), ids=TWO_CALLS)
def test_a_call_of_an_unknown_tool_stays_text(text: str) -> None:
    other = text.replace("weather", "whether")
    assert read_items(other) == [other]
    assert read_items(*other) == [other]


@pytest.mark.parametrize(
    "text",
    [
        "functools[key](value)",
        "functools[",
        "<|START_ACTION|>run<|END_ACTION|>",
        "<|tool_call|> is a token",
        "<|action_start|><|interpreter|>print(1)<|action_end|>",
        f"{NS}<tool_call>{NS}</tool_call>",
        f'{NS}<invoke name="weather">{NS}<city>Graz',
        f'{NS}<invoke name="weather">{NS}<city>Graz{NS}</town>{NS}</invoke>',
        f'{NS}<invoke name="weather">Graz{NS}</invoke>',
        "<|start|>assistant<|channel|>final<|message|>Hello<|end|>",
    ],
)
def test_what_only_looks_like_one_stays_text(text: str) -> None:
    assert read_items(text) == [text]
    assert read_items(*text) == [text]


def test_thinking_of_gpt_oss_before_a_call_stays_before_it() -> None:
    thought = "<|channel|>analysis<|message|>Hm.<|end|>"
    assert read_items(thought + TWO_CALLS["harmony"]) == [thought, GRAZ, WIEN]


# --- the arguments of MiniMax M3 ------------------------------------------------------------------
def element(name: str, content: str) -> str:
    return f"{NS}<{name}>{content}{NS}</{name}>"


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ("", {}),
        ("\n", {}),
        (element("tags", ""), {"tags": []}),
        (element("options", " "), {"options": {}}),
        (element("tags", element("item", "42") + element("item", "a")), {"tags": ["42", "a"]}),
        (element("tags", "x") + element("tags", "y"), {"tags": ["x", "y"]}),
        (
            element("rows", element("item", element("id", "7") + element("name", "7"))),
            {"rows": [{"id": 7, "name": 7}]},
        ),
        (
            element("rows", element("item", f"{NS}<id>7</id>{NS}<name>a</b></name>")),
            {"rows": [{"id": 7, "name": "a</b>"}]},
        ),
        (f"{NS}<tags>a</tags>\n{NS}<options>{{}}</options>", {"tags": "a", "options": {}}),
        (
            element("options", f"now{element('deep', 'true')}"),
            {"options": {"deep": True, "$text": "now"}},
        ),
    ],
)
def test_members_and_items_are_read_by_their_schema(body: str, arguments: object) -> None:
    assert parse_minimax_arguments(body, ArgumentSchema(TOOLS["save"])) == arguments


@pytest.mark.parametrize(
    "body",
    ["text", f"{NS}</a>", f"{NS}<a>", f"{NS}<a>{NS}<b>{NS}</a>{NS}</b>", f"{NS}<a>" * 40],
)
def test_tags_that_do_not_match_are_no_arguments(body: str) -> None:
    assert parse_minimax_arguments(body, ArgumentSchema(TOOLS["save"])) is None
