"""Calls in every form, in the style of public function-calling sets, are read exactly."""

import json
import random
from typing import Any

import pytest

from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.call_syntax import ALL_FORMS
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.protocol.dialect import UNMISTAKABLE_FORMS
from providers.tests.filters.prompted_tools.public_cases import (
    TOOLS,
    list_answers_without_calls,
    list_cases,
)
from providers.tests.filters.prompted_tools.written_forms import (
    UNMISTAKABLE,
    WRITERS,
    Writer,
    minimax_m3,
)

CASES = list_cases()
ANSWERS = list_answers_without_calls()
Items = list[str | tuple[str, Any]]


def read_items(*pieces: str, call_forms: frozenset[str] = ALL_FORMS) -> Items:
    """Text and (name, arguments), in order, neighbouring texts joined."""
    scanner = CallScanner(TOOLS, call_forms=call_forms)
    items: Items = []
    fed = [item for piece in pieces for item in scanner.feed(piece)]
    for item in [*fed, *scanner.finish_text()]:
        if isinstance(item, WrittenCall):
            items.append((item.name, json.loads(item.arguments)))
        elif items and isinstance(items[-1], str):
            items[-1] += item
        else:
            items.append(item)
    return items


def cut_at_random(text: str, draw: random.Random) -> list[str]:
    cuts = sorted(draw.randrange(len(text) + 1) for _ in range(draw.randrange(1, 12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def loses_types(write: Writer, arguments: Any) -> bool:
    """Return whether a form cannot tell a text from other JSON: the schema says nothing of it."""
    if write is not minimax_m3 or "filters" not in arguments:
        return False
    text = arguments["filters"]["deep"]["a"][1]["b"][2]
    return text in ("42", "true", "null", "[1, 2]", '{"not": "an object"}')


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_at_least_99_of_100_public_calls_are_exact_in_every_form(write: Writer) -> None:
    wrong = [
        (name, arguments, found)
        for name, arguments in CASES
        if not loses_types(write, arguments)
        and (found := read_items(write(name, arguments))) != [(name, arguments)]
    ]
    assert len(CASES) == 300
    assert len(wrong) <= 3, wrong[0]


@pytest.mark.parametrize("write", UNMISTAKABLE, ids=lambda write: write.__name__)
def test_unmistakable_forms_count_after_text_and_without_the_other_forms(write: Writer) -> None:
    for name, arguments in CASES[:30]:
        text = f"Let me see.{write(name, arguments)}"
        found = read_items(text, call_forms=UNMISTAKABLE_FORMS)
        assert found == ["Let me see.", (name, arguments)]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_where_a_public_call_is_cut_changes_nothing(write: Writer) -> None:
    draw = random.Random(3)
    for number, (name, arguments) in enumerate(CASES):
        text = write(name, arguments)
        whole = read_items(text)
        assert read_items(*cut_at_random(text, draw)) == whole
        if number % 30 == 0:
            assert read_items(*text) == whole
            for cut in range(len(text)):
                assert read_items(text[:cut], text[cut:]) == whole


def test_none_of_a_thousand_answers_without_a_call_has_one() -> None:
    assert len(ANSWERS) == 1_000
    for answer in ANSWERS:
        assert read_items(answer) == [answer]


def test_where_an_answer_without_a_call_is_cut_changes_nothing() -> None:
    draw = random.Random(5)
    for number, answer in enumerate(ANSWERS):
        assert read_items(*cut_at_random(answer, draw)) == [answer]
        if number % 50 == 0:
            assert read_items(*answer) == [answer]
