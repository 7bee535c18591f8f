"""Whole numbers in addresses and forms."""

import pytest

from providers.integers import parse_integer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("100", 100),
        ("007", 7),
        ("-1", None),
        ("0", None),
        ("101", None),
        ("9" * 5_000, None),
    ],
)
def test_a_number_is_read_when_it_is_in_its_range(text: str, number: int | None) -> None:
    assert parse_integer(text, 1, 100) == number


NO_NUMBERS = ["", " 1", "1\n", "+1", "1.0", "1e1", "0x1", "1_0", "٣", "²", "--1", "\0"]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_nothing_else_is_a_number(text: str) -> None:
    assert parse_integer(text, -100, 100) is None


def test_a_range_may_reach_below_zero() -> None:
    assert parse_integer("-1", -1, 5) == -1
    assert parse_integer("-2", -1, 5) is None
