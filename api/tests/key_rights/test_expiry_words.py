"""The end of a key in words."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from api.key_rights.expiry_words import UnknownMoment, parse_expiry, render_expiry

NOW = datetime(2031, 1, 31, 10, 30, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("in 30 days", "2031-03-02T10:30"),
        ("30d", "2031-03-02T10:30"),
        ("In  2  Weeks", "2031-02-14T10:30"),
        ("90 minutes", "2031-01-31T12:00"),
        ("a month", "2031-02-28T10:30"),
        ("in 13 months", "2032-02-29T10:30"),
        ("1 year", "2032-01-31T10:30"),
        ("tomorrow", "2031-02-01T23:59"),
        ("end of month", "2031-01-31T23:59"),
        ("the end of the week", "2031-02-02T23:59"),
        ("end of this year", "2031-12-31T23:59"),
        ("2031-02-03", "2031-02-03T23:59"),
        ("2031-02-03 04:05", "2031-02-03T04:05"),
        ("2031-02-03T04:05:06+02:00", "2031-02-03T02:05"),
        ("30天后", "2031-03-02T10:30"),
        ("三个月", "2031-04-30T10:30"),
        ("月底", "2031-01-31T23:59"),
    ],
)
def test_words_mean_a_time(words: str, expected: str) -> None:
    moment = parse_expiry(words, NOW)
    assert moment is not None
    assert moment.astimezone(UTC).isoformat()[:16] == expected


@pytest.mark.parametrize("words", ["", "never", " NEVER ", "永不"])
def test_never_is_no_time(words: str) -> None:
    assert parse_expiry(words, NOW) is None


@pytest.mark.parametrize("words", ["soon", "0 days", "in 5 parsecs", "99999 years", "2031-02-30"])
def test_other_words_are_refused_with_examples(words: str) -> None:
    with pytest.raises(UnknownMoment, match="in 30 days"):
        parse_expiry(words, NOW)


def test_a_time_that_has_passed_is_refused() -> None:
    with pytest.raises(UnknownMoment, match="passed"):
        parse_expiry("2031-01-30", NOW)


def test_a_day_ends_where_the_person_is() -> None:
    with timezone.override(ZoneInfo("Asia/Shanghai")):
        moment = parse_expiry("2031-02-03", NOW)
        assert moment is not None
        assert moment.astimezone(UTC).isoformat() == "2031-02-03T15:59:59+00:00"
        assert parse_expiry(render_expiry(moment), NOW) == moment


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        moment = parse_expiry(text, NOW)
    except UnknownMoment:
        return
    assert moment is None or moment > NOW
