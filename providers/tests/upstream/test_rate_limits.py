import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from providers.exceptions import QuotaExhausted, RateLimited
from providers.upstream.error_mapping import ERROR_CODES, map_error_answer
from providers.upstream.rate_limits import (
    RateLimit,
    parse_reset,
    read_body_reset,
    read_limit,
    read_reset,
)


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


Text = str | Callable[[], str]  # one that names a time is made when it is read
RESETS: list[tuple[Text, float | None]] = [
    ("6m0s", 360),
    ("1s", 1),
    ("120ms", 0.12),
    ("1h2m3.5s", 3_723.5),
    ("2d", 172_800),
    ("12", 12),
    ("0.5", 0.5),
    ("0", 0),
    (lambda: in_seconds(3_000).isoformat(), 3_000),
    (lambda: in_seconds(3_000).strftime("%Y-%m-%dT%H:%M:%SZ"), 3_000),
    (lambda: format_datetime(in_seconds(3_000), usegmt=True), 3_000),
    (lambda: str(int(time.time()) + 3_000), 3_000),
    (lambda: str(int(time.time() * 1_000) + 3_000_000), 3_000),
    (lambda: in_seconds(-3_600).isoformat(), 0),
    (lambda: str(int(time.time()) - 30), 0),
    ("", None),
    ("soon", None),
    ("6m0s ago", None),
    ("-5", None),
    ("nan", None),
    ("inf", None),
    ("1e9", None),
    ("١٢", None),
    ("9" * 200, None),
    ("9999-99-99T00:00:00Z", None),
]


@pytest.mark.parametrize(
    ("text", "seconds"), RESETS, ids=[str(number) for number in range(len(RESETS))]
)
def test_each_way_to_write_a_reset_is_understood(text: Text, seconds: float | None) -> None:
    found = parse_reset(text if isinstance(text, str) else text())
    assert found == seconds if seconds is None else found == pytest.approx(seconds, abs=seconds / 4)


def test_nothing_left_is_found_with_its_reset() -> None:
    openai = {b"x-ratelimit-remaining-requests": b"0", b"x-ratelimit-reset-requests": b"6m0s"}
    assert read_limit(openai) == RateLimit(360, True)
    both = openai | {b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"10m"}
    assert read_limit(both) == RateLimit(600, True)
    router = {b"x-ratelimit-remaining": b"0", b"x-ratelimit-reset": b"20"}
    assert read_limit(router) == RateLimit(20, False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b"application/json"},
        {b"x-ratelimit-remaining-requests": b"7", b"x-ratelimit-reset-requests": b"1s"},
        {b"x-ratelimit-remaining-requests": b"0"},
        {b"x-ratelimit-remaining-requests": b"0", b"x-ratelimit-reset-requests": b"soon"},
        {b"x-ratelimit-remaining-requests": b"", b"x-ratelimit-reset-requests": b"1s"},
    ],
)
def test_something_left_or_an_unknown_reset_is_no_limit(headers: dict[bytes, bytes]) -> None:
    assert read_limit(headers) is None


def test_a_body_may_say_at_which_millisecond_to_come_back() -> None:
    headers = {"X-RateLimit-Reset": str(int(time.time() * 1_000) + 3_000_000)}
    assert read_body_reset({"metadata": {"headers": headers}}) == pytest.approx(3_000, abs=300)


def test_of_a_429_the_limit_that_was_hit_counts() -> None:
    headers = {
        b"x-ratelimit-remaining-requests": b"99",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"45s",
    }
    assert read_reset(headers) == RateLimit(45, True)
    assert read_reset({b"x-ratelimit-reset-tokens": b"45s"}) == RateLimit(45, True)
    assert read_reset({}) is None


BODIES: list[tuple[dict[str, Any], float | None]] = [
    ({"message": "Rate limit reached. Please try again in 1m2.5s. Visit …"}, 62.5),
    ({"message": "please TRY AGAIN IN 20ms"}, 0.02),
    ({"metadata": {"headers": {"X-RateLimit-Reset": "3000"}}}, 3_000),
    ({"details": [{"@type": "…/RetryInfo", "retryDelay": "34s"}]}, 34),
    ({"retry_after": 7}, 7),
    ({"retry_after": True}, None),
    ({"details": "no list", "metadata": "no object"}, None),
    ({"message": None}, None),
    ({}, None),
]


@pytest.mark.parametrize(("error", "seconds"), BODIES, ids=range(len(BODIES)))
def test_bodies_of_refusals_say_when_to_come_back(
    error: dict[str, Any], seconds: float | None
) -> None:
    found = read_body_reset(error)
    assert found == seconds if seconds is None else found == pytest.approx(seconds, abs=seconds / 4)


def test_a_refusal_carries_its_reset_its_reach_and_whose_limit_it_is() -> None:
    headers = {b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"30s"}
    text = "Rate limit reached for gpt-5 in organization org-Acme1 on tokens per min."
    found = map_error_answer(ERROR_CODES, 429, {"message": text}, headers)
    assert isinstance(found, RateLimited)
    assert (found.retry_after_seconds, found.is_per_model, found.organization) == (
        30,
        True,
        "org-Acme1",
    )


def test_retry_after_comes_before_all_other_signs() -> None:
    headers = {b"retry-after": b"3", b"x-ratelimit-reset-requests": b"6m0s"}
    found = map_error_answer(ERROR_CODES, 429, {"message": "try again in 9s"}, headers)
    assert found.retry_after_seconds == 3


def test_a_quota_is_not_back_when_a_rate_limit_is() -> None:
    headers = {b"x-ratelimit-reset-requests": b"1s"}
    found = map_error_answer(ERROR_CODES, 429, {"code": "insufficient_quota"}, headers)
    assert isinstance(found, QuotaExhausted)
    assert found.retry_after_seconds is None


def test_the_reset_of_a_signed_in_account_is_read_from_a_refusal_only() -> None:
    headers = {b"anthropic-ratelimit-unified-reset": str(int(time.time()) + 3_000).encode()}
    assert read_limit(headers) is None
    reset = read_reset(headers)
    assert reset is not None
    assert (round(reset.seconds, -2), reset.is_per_model) == (3_000, False)
