"""JSON that a model left unfinished."""

import json

import pytest

from conversations.strategies.stepwise.cut_json import (
    close_first_object,
    close_json,
    decode_closed,
)


def read_cut_object(text: str) -> object:
    return next(filter(None, map(decode_closed, close_first_object(text))), None)


def test_the_way_of_closing_is_not_built_again_at_each_comma():
    text = '{"a":' + "[1," * 150
    assert close_json(text) == (text + "]" * 150 + "}", text[:-1] + "]" * 150 + "}")
    assert close_json('{"a": [1, {"b": 2, "c') == (
        '{"a": [1, {"b": 2, "c"}]}',
        '{"a": [1, {"b": 2}]}',
    )
    assert close_json('{"a": [1, [2], [3') == ('{"a": [1, [2], [3]]}', '{"a": [1, [2]]}')


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ('{"a": 1,}', '{"a": 1}'),
        ('{"a": [1, 2,\n],\n}', '{"a": [1, 2\n]\n}'),
        ('{"a": "b,}", }', '{"a": "b,}" }'),
        ('{"a": "b,}', '{"a": "b,}"}'),
        ('{"a": "b\\', '{"a": "b"}'),
        ('{"a": "b\\\\', '{"a": "b\\\\"}'),
        ('{"a": "b\\u00e', '{"a": "b"}'),
        ('{"a": "b\\"', '{"a": "b\\""}'),
        ("]}", "]}"),
    ],
)
def test_commas_are_left_out_and_strings_and_brackets_closed(text: str, closed: str) -> None:
    assert close_json(text)[0] == closed


def test_wherever_an_object_is_cut_no_member_before_the_cut_is_lost() -> None:
    whole = {"a": 'x, "y" }', "b": [1, {"c": "\\é"}], "d": {"e": None}, "f": "end"}
    text = json.dumps(whole)
    for end in range(1, len(text)):
        found = read_cut_object(text[:end])
        complete = [name for name in whole if f'"{name}": {json.dumps(whole[name])},' in text[:end]]
        assert [name for name in complete if found[name] != whole[name]] == [], text[:end]
    assert read_cut_object(f"Here: {text} and more") == whole
    assert close_first_object("no object") == ()
