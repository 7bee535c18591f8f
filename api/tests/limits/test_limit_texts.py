"""Limits as people write them: one parser, and the sentences of the admin."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from api.limits import limit_texts
from api.limits.limit_texts import (
    PERIOD_TEXT,
    describe_limits,
    parse_budgets,
    parse_count,
    parse_limits,
    parse_raise,
)
from api.limits.limit_values import BUDGET_TEXT, COUNT_TEXT, MOST_COUNT


def find_problem(parse: Any, *texts: str) -> str:
    with pytest.raises(ValidationError) as caught:
        parse(*texts)
    return " ".join(caught.value.messages)


def test_a_line_has_every_limit() -> None:
    text = (
        "rpm=60, tpm=100000 ,concurrency=4,budget=5/day|50.5/month|500/total,window=rolling,"
        "zone=Europe/Berlin"
    )
    assert parse_limits(text) == {
        "requests_per_minute": 60,
        "tokens_per_minute": 100_000,
        "concurrent_requests": 4,
        "day_budget_usd": Decimal(5),
        "month_budget_usd": Decimal("50.5"),
        "total_budget_usd": Decimal(500),
        "budget_window": "rolling",
        "time_zone": "Europe/Berlin",
    }


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_nothing_written_is_no_limit(text: str) -> None:
    assert parse_limits(text) == {}


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.5", "many", "", " ", "1e3", "٣", "+5", "9" * 30, str(MOST_COUNT + 1)]
)
def test_a_count_that_cannot_be_is_refused_with_one_sentence(text: str) -> None:
    assert find_problem(parse_count, text) == COUNT_TEXT
    assert find_problem(parse_limits, f"rpm={text}") == f"rpm: {COUNT_TEXT}"


@pytest.mark.parametrize(
    "text", ["5", "5/week", "/day", "5/", "", "5/day|6/day", "5/day|", "day/5", "5/DAY"]
)
def test_a_budget_needs_an_amount_and_a_known_period(text: str) -> None:
    assert find_problem(parse_budgets, text) == PERIOD_TEXT


@pytest.mark.parametrize(
    "amount",
    ["-1", "much", "NaN", "Infinity", "-0.01", "1e9", "0.0000001", "1e999999", "100000000"],
)
def test_an_amount_that_cannot_be_is_refused_with_one_sentence(amount: str) -> None:
    assert find_problem(parse_budgets, f"{amount}/day") == BUDGET_TEXT
    assert find_problem(parse_limits, f"budget={amount}/day") == f"budget: {BUDGET_TEXT}"


def test_a_budget_of_nothing_is_a_budget() -> None:
    assert parse_budgets("0/total") == {"total_budget_usd": Decimal(0)}


def test_none_takes_limits_away() -> None:
    assert parse_limits("rpm=none") == {"requests_per_minute": None}
    assert parse_budgets("none") == dict.fromkeys(limit_texts.BUDGET_COLUMNS.values())
    assert parse_budgets("none/day") == {"day_budget_usd": None}
    assert limit_texts.parse_ip_ranges("none") == {"ip_ranges": []}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rpd=5", "There is no limit 'rpd'"),
        ("60", "There is no limit '60'"),
        ("zone=Mars", "There is no time zone 'Mars'"),
        ("window=sliding", "calendar or rolling"),
    ],
)
def test_other_mistakes_are_named(text: str, words: str) -> None:
    assert words in find_problem(parse_limits, text)


def test_addresses_and_endpoints_are_checked() -> None:
    assert limit_texts.parse_ip_ranges("10.0.0.0/8, ::1") == {"ip_ranges": ["10.0.0.0/8", "::1"]}
    assert "no IP range" in find_problem(limit_texts.parse_ip_ranges, "10.0.0.1/8")
    assert "no endpoint" in find_problem(limit_texts.parse_endpoints, "chat")


# --- raises ---------------------------------------------------------------------------------------
def test_a_raise_until_a_day_ends_with_that_day_in_the_zone_of_the_limits() -> None:
    columns = parse_raise("2", "2999-12-24", "Europe/Berlin")
    assert columns["raise_usd"] == 2
    assert columns["raise_until"] == datetime(2999, 12, 24, 23, tzinfo=UTC)


def test_a_raise_may_end_at_a_time() -> None:
    berlin = parse_raise("2", "2999-12-24T18:00", "Europe/Berlin")["raise_until"]
    assert berlin == datetime(2999, 12, 24, 18, tzinfo=ZoneInfo("Europe/Berlin"))
    assert parse_raise("2", "2999-12-24T18:00Z", "Europe/Berlin")["raise_until"] == datetime(
        2999, 12, 24, 18, tzinfo=UTC
    )


def test_a_raise_that_is_over_or_without_an_end_is_refused() -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    assert "has passed" in find_problem(parse_raise, "2", yesterday, "UTC")
    for text in ("", "soon", "24.12.2026"):
        assert "2026-12-24" in find_problem(parse_raise, "2", text, "UTC")
    assert find_problem(parse_raise, "9999-12-31", "2999-12-24", "UTC") == BUDGET_TEXT


# --- there and back -------------------------------------------------------------------------------
COUNTS = st.none() | st.integers(1, MOST_COUNT)
AMOUNTS = st.none() | st.decimals(0, 99_999_999, places=6)


@given(counts=st.tuples(COUNTS, COUNTS, COUNTS), amounts=st.tuples(AMOUNTS, AMOUNTS, AMOUNTS))
def test_limits_in_words_are_read_as_the_same_limits(counts: Any, amounts: Any) -> None:
    columns = dict(zip(limit_texts.COUNT_COLUMNS.values(), counts, strict=True))
    columns |= dict(zip(limit_texts.BUDGET_COLUMNS.values(), amounts, strict=True))
    read = parse_limits(describe_limits(columns))
    assert {name: read.get(name) for name in columns} == columns


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValidationError):
        assert isinstance(parse_limits(text), dict)
