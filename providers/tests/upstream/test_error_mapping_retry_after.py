"""When an upstream wants the next request, in any form of `Retry-After`."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.upstream.error_mapping import (
    ERROR_CODES,
    map_error_answer,
    read_retry_after,
)

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=250)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({b"retry-after": b"7"}, 7.0),
        ({b"retry-after": b" 7 "}, 7.0),
        ({b"retry-after": b"0"}, 0.0),
        ({b"retry-after": b"1.5"}, 1.5),
        ({b"retry-after": b"1000000000"}, 1e9),
        ({b"retry-after-ms": b"250"}, 0.25),
        ({b"retry-after-ms": b"1500.5", b"retry-after": b"9"}, 1.5005),
        ({b"retry-after-ms": b"soon", b"retry-after": b"9"}, 9.0),
        *(
            ({b"retry-after": text}, None)
            for text in (
                b"",
                b"soon",
                b"-5",
                b"+5",
                b"1e9",
                b"inf",
                b"nan",
                b"0x10",
                b"7, 8",
                b"7;8",
                b"\xff\xb2",
                b"\0",
            )
        ),
        ({b"retry-after": b"9" * 400}, None),
        ({b"retry-after": b"Mon, 99 Foo 2026 99:99:99 GMT"}, None),
        ({b"retry-after": b"Mon, 01 Jan 2024 00:00:00 +99999999999999999999"}, None),
        ({b"retry-after": b"Mon, 01 Jan 99999 00:00:00 GMT"}, None),
    ],
    ids=repr,
)
def test_retry_after_is_read(headers: dict[bytes, bytes], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


@pytest.mark.parametrize("seconds", [90, -3_600, 86_400 * 400])
def test_retry_after_may_be_a_date(seconds: int) -> None:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    found = read_retry_after({b"retry-after": format_datetime(at, usegmt=True).encode()})
    assert found == pytest.approx(max(0, seconds), abs=30)


@pytest.mark.parametrize(
    "form", ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S +0000"]
)
def test_the_old_forms_of_a_date_are_read_too(form: str) -> None:
    at = datetime.now(UTC) + timedelta(seconds=600)
    assert read_retry_after({b"retry-after": at.strftime(form).encode()}) == pytest.approx(
        600, abs=30
    )


def test_the_error_carries_when_to_come_back() -> None:
    assert map_error_answer(ERROR_CODES, 429, None, {b"retry-after": b"7"}).retry_after_seconds == 7
    assert map_error_answer(ERROR_CODES, 429, None, {}).retry_after_seconds is None


@FAST
@given(
    st.binary(max_size=40)
    | st.text(alphabet="0123456789 ,:-+.eGMTJanMon", max_size=40).map(str.encode)
)
def test_any_header_is_seconds_or_nothing(value: bytes) -> None:
    found = read_retry_after({b"retry-after": value})
    assert found is None or isinstance(found, float)
