"""What answers were billed by, in the forms of several upstreams."""

import json
from typing import Any

import pytest

from providers.protocol.billed_units import BilledUnits
from providers.protocol.usage_meter import TokenUsage, parse_usage
from providers.relayed.answer_facts import (
    AnswerFacts,
    count_units,
    read_answer_facts,
    read_token_usage,
)

UNKNOWN_LENGTH = BilledUnits(lacks_seconds=True)


def read(answer: Any) -> AnswerFacts:
    facts = read_answer_facts(json.dumps(answer).encode())
    assert facts is not None
    return facts


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"usage": {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}}, (5, 7)),
        ({"usage": {"prompt_tokens": 5, "total_tokens": 5}}, (5, 0)),
        ({"usage": {"total_tokens": 38}}, (38, 0)),
        ({"usage": {"type": "duration", "seconds": 9}}, (0, 0)),
        ({"usage": {"input_tokens": "many"}}, (0, 0)),
        ({"meta": {"billed_units": {"search_units": 1}}}, (0, 0)),
        ({"meta": {"billed_units": {"input_tokens": 4, "output_tokens": 1}}}, (4, 1)),
        ({"usage": None}, None),
        ({"usage": [1]}, None),
        ({"meta": 5}, None),
        ({}, None),
    ],
)
def test_tokens_are_read_in_every_form(answer: Any, tokens: tuple[int, int] | None) -> None:
    usage = parse_usage(read_token_usage(read(answer)))
    assert usage == (None if tokens is None else TokenUsage(*tokens))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(8.47, 8.47), ("8.47", 8.47), (9, 9.0), ("long", 0), (-1, 0), (True, 0), (1e30, 0), ([], 0)],
)
def test_seconds_are_plausible_numbers(seconds: Any, expected: float) -> None:
    units = count_units(read({"duration": seconds}), "audio/transcriptions", UNKNOWN_LENGTH)
    assert units == (BilledUnits(audio_seconds=expected) if expected else UNKNOWN_LENGTH)


def test_the_seconds_of_the_usage_come_first() -> None:
    answer = {"duration": 8.47, "usage": {"type": "duration", "seconds": 9}}
    units = count_units(read(answer), "audio/translations", UNKNOWN_LENGTH)
    assert units.audio_seconds == 9


def test_images_are_counted_where_the_answer_has_them() -> None:
    requested = BilledUnits(images=4)
    answer = {"data": [{"url": "a"}, {"url": "b"}], "duration": 5, "meta": {"billed_units": {}}}
    assert count_units(read(answer), "images/edits", requested) == BilledUnits(images=2)
    assert count_units(read({}), "images/edits", requested) == requested
    assert count_units(read({"data": "none"}), "images/edits", requested) == requested


@pytest.mark.parametrize("data", [b"", b"[]", b"text", b'"text"', b"\xff", b"{" * 100_000])
def test_what_is_no_object_has_no_facts(data: bytes) -> None:
    assert read_answer_facts(data) is None
