"""The calls of a request, read from its usage record."""

from typing import Any

import msgspec
import pytest

from api.pricing.recorded_calls import read_answered_calls
from api.pricing.request_cost import AnsweredCall
from providers.protocol.billed_units import BilledUnits
from providers.protocol.usage_meter import TokenUsage

USAGE = TokenUsage(10, 5, 1, 2, cache_write=3)
RECORD = {
    "provider_id": 13,
    "status": "complete",
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "reasoning_tokens": 1,
    "cached_tokens": 2,
    "cache_write_tokens": 3,
}
NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0}


def make_attempt(outcome: str = "answered", usage: TokenUsage | None = None) -> dict[str, Any]:
    attempt: dict[str, Any] = {"provider": "p", "model": "big", "outcome": outcome}
    if usage is not None:
        attempt |= {"provider_id": 13, "tokens": msgspec.structs.asdict(usage)}
    return attempt


@pytest.mark.parametrize("outcome", ["answered", "cut", "abandoned", "running"])
def test_the_only_answered_call_took_all_tokens(outcome: str) -> None:
    attempts = [make_attempt("RateLimited"), make_attempt("skipped"), make_attempt(outcome)]
    assert read_answered_calls(RECORD | {"attempts": attempts}) == [AnsweredCall(13, "big", USAGE)]


def test_a_call_is_billed_by_its_units_again() -> None:
    attempts = [make_attempt() | {"units": {"images": 2}}]
    (call,) = read_answered_calls(RECORD | {"attempts": attempts}) or []
    assert call.billed == BilledUnits(images=2)
    (odd,) = read_answered_calls(RECORD | {"attempts": [make_attempt() | {"units": [1]}]}) or []
    assert odd.billed == BilledUnits()


def test_several_calls_have_their_own_tokens() -> None:
    parts = [TokenUsage(4, 5, 1, 2), TokenUsage(6, 0, cache_write=3, estimated=True)]
    attempts = [make_attempt(usage=part) for part in parts]
    expected = [AnsweredCall(13, "big", part) for part in parts]
    assert read_answered_calls(RECORD | {"attempts": attempts}) == expected
    # one that was answered and asked again took none of its own
    attempts.insert(1, make_attempt())
    assert read_answered_calls(RECORD | {"attempts": attempts}) == expected


@pytest.mark.parametrize(
    "attempts",
    [
        [make_attempt(), make_attempt()],
        [make_attempt(usage=USAGE), make_attempt(usage=USAGE)],
        [make_attempt(usage=TokenUsage(1)), make_attempt()],
        [],
        [make_attempt("RateLimited")],
    ],
)
def test_a_record_that_does_not_say_which_call_took_what_has_no_calls(
    attempts: list[dict[str, Any]],
) -> None:
    assert read_answered_calls(RECORD | {"attempts": attempts}) is None


@pytest.mark.parametrize(
    ("status", "calls"),
    [("error", []), ("abandoned", []), ("interrupted", None), ("refused", None)],
)
def test_a_request_that_nobody_answered_had_no_calls(status: str, calls: list[Any] | None) -> None:
    record = RECORD | NO_TOKENS | {"status": status, "attempts": [make_attempt("ServerFailed")]}
    assert read_answered_calls(record) == calls
