"""The text of a custom tool, read from the arguments of a function (F1)."""

import json

import pytest

from conversations.messages.custom_input import (
    CustomInputReader,
    read_custom_input,
    write_custom_input,
)

PATCH = '*** Begin Patch\n*** Add File: a "b".txt\n+\tü 日本 😀 \\d+\r\n*** End Patch\n'
TEXTS = ["", "x", PATCH, '"', "\\", "\\\\n", "\b\f\n\r\t/", "😀" * 3, "a\u2028b", "{}", '{"a": 1}']


def read_in_pieces(*pieces):
    reader = CustomInputReader()
    return [*(reader.add_piece(piece) for piece in pieces), reader.read_rest()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("ascii_only", [False, True], ids=["as it is", "escaped"])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_text_comes_out_as_it_went_in_wherever_it_is_cut(text, ascii_only, indent):
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only, indent=indent)
    assert read_custom_input(arguments) == text
    assert "".join(read_in_pieces(*arguments)) == text
    for cut in range(len(arguments)):
        assert "".join(read_in_pieces(arguments[:cut], arguments[cut:])) == text


def test_our_own_arguments_are_read_back():
    assert read_custom_input(write_custom_input(PATCH)) == PATCH


def test_the_text_comes_out_while_the_arguments_come_in():
    assert read_in_pieces('{"inp', 'ut": "Hel', "lo\\", 'n", "more": "x"', "}") == [
        "", "Hel", "lo", "\n", "", ""
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("*** Begin Patch", "*** Begin Patch"),
        ('"quoted\\ntext"', "quoted\ntext"),
        ('{"why": "so", "input": "x"}', "x"),
        ('{"input": 5}', '{"input": 5}'),
        ('{"city": "Graz"}', '{"city": "Graz"}'),
        ("[1]", "[1]"),
        ("{}", ""),
        ("", ""),
        ('{"input": "cut off', "cut off"),
        ('{"input": "a\\d{2}"}', "a\\d{2}"),
        ('{"input": "\\uZZZZ"}', "\\uZZZZ"),
        ('{"input": "raw\nline"}', "raw\nline"),
        ('{"input": "\\ud83d!"}', "\ufffd!"),
        ('{"input": "\\udc00!"}', "\ufffd!"),
    ],
)
def test_arguments_that_a_model_got_wrong_are_read_as_far_as_possible(arguments, text):
    assert read_custom_input(arguments) == text
    assert "".join(read_in_pieces(*arguments)) == text
