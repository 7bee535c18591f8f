"""Values between tags get the type that the tool's schema says."""

import json
from typing import Any

import pytest

from providers.filters.call_texts.schema_types import ArgumentSchema
from providers.tests.filters.prompted_tools.test_public_cases import CallScanner, WrittenCall

PARAMETERS = {
    "type": "object",
    "$defs": {"Size": {"type": "integer"}},
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "flag": {"type": "boolean"},
        "list": {"type": "array"},
        "object": {"type": "object"},
        "maybe": {"type": ["string", "null"]},
        "size": {"$ref": "#/$defs/Size"},
        "either": {"anyOf": [{"type": "object"}, {"type": "string"}]},
        "choice": {"enum": ["1", "2"]},
        "free": {},
    },
}
SCHEMA = ArgumentSchema({"parameters": PARAMETERS})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("text", "8010", "8010"),
        ("text", '"quoted"', '"quoted"'),
        ("text", " null\n", " null\n"),
        ("count", " 3 ", 3),
        ("count", "3.0", 3),
        ("count", "three", "three"),
        ("ratio", "3", 3),
        ("ratio", "1e-3", 0.001),
        ("flag", "True", True),
        ("flag", "false", False),
        ("list", "[1, 2]", [1, 2]),
        ("object", '{"a": [1]}', {"a": [1]}),
        ("object", "{broken", "{broken"),
        ("maybe", "null", None),
        ("maybe", "nullable", "nullable"),
        ("size", "4", 4),
        ("either", '{"a": 1}', {"a": 1}),
        ("either", "a", "a"),
        ("choice", "1", "1"),
        ("free", "1", 1),
        ("free", "one", "one"),
        ("unknown", "[1]", [1]),
    ],
)
def test_text_becomes_the_value_that_the_schema_means(name: str, text: str, value: Any) -> None:
    converted = SCHEMA.convert_text(name, text)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    "template",
    [
        "<tool_call>\n<function=f>\n<parameter=text>\n{value}\n</parameter>\n</function>"
        "\n</tool_call>",
        "<tool_call>f\n<arg_key>text</arg_key>\n<arg_value>{value}</arg_value>\n</tool_call>",
        '<minimax:tool_call><invoke name="f"><parameter name="text">{value}</parameter>\n</invoke>',
    ],
)
@pytest.mark.parametrize("value", ["a\n", "\n  a", "", "5", '{"a": 1}', "<b>&amp;</b>"])
def test_text_keeps_its_blanks_and_signs(template: str, value: str) -> None:
    scanner = CallScanner({"f": {"name": "f", "parameters": PARAMETERS}})
    items = [*scanner.feed(template.replace("{value}", value)), *scanner.finish_text()]
    [call] = [item for item in items if isinstance(item, WrittenCall)]
    assert json.loads(call.arguments) == {"text": value}
