"""The cost of a request: the exact sum of its answered calls, unknown where a price is."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.pricing.price_directory import PriceDirectory
from api.pricing.request_cost import AnsweredCall, compute_cost, sum_call_costs
from api.tests.pricing.price_rows import LONG_AGO, TODAY, make_directory
from providers.protocol.attempt import Attempt
from providers.protocol.billed_units import NO_UNITS
from providers.protocol.usage_meter import RequestCost, TokenUsage, UsageMeter

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=200)
STARTED_AT = TODAY.isoformat()
USD_1_AND_2 = {"prompt_usd": Decimal(1), "completion_usd": Decimal(2)}


def make_meter(*calls: tuple[str, TokenUsage | None], outcome: str = "answered") -> UsageMeter:
    """Return a meter whose calls went to provider 13: upstream model and counted tokens."""
    meter = UsageMeter()
    for model, usage in calls:
        call = meter.begin_call({"messages": []})
        call.attempt = Attempt("p", model, None, 13, outcome)
        call.counted = usage
    counts = [usage for _, usage in calls if usage is not None]
    meter.counted = sum(counts, TokenUsage())
    return meter


def test_a_request_costs_what_its_calls_cost_together() -> None:
    prices = make_directory(
        {"id": 7, "upstream_model": "a", **USD_1_AND_2},
        {"id": 8, "upstream_model": "b", "prompt_usd": Decimal(10), "completion_usd": Decimal(20)},
    )
    meter = make_meter(("a", TokenUsage(100, 10)), ("b", TokenUsage(5, 1)))
    assert compute_cost(meter, prices, STARTED_AT) == RequestCost(100 + 20 + 50 + 20, 8)


def test_the_sum_is_rounded_once_half_up() -> None:
    prices = make_directory({"prompt_usd": Decimal("0.25"), "completion_usd": Decimal(0)})
    one = TokenUsage(1)
    costs = [
        compute_cost(make_meter(*[("m", one)] * count), prices, STARTED_AT).micro_usd
        for count in range(1, 8)
    ]
    # 0.25, 0.50, 0.75, 1.00 … micro-USD: rounded call by call it would be 0 for all of them
    assert costs == [0, 1, 1, 1, 1, 2, 2]


def test_the_price_is_that_of_the_time_when_the_request_began() -> None:
    prices = make_directory(
        {"id": 3, "prompt_usd": Decimal(3), "valid_from": TODAY + timedelta(seconds=1)},
        {"id": 2, "prompt_usd": Decimal(2), "valid_from": TODAY},
        {"id": 1, "prompt_usd": Decimal(1), "valid_from": LONG_AGO},
    )
    meter = make_meter(("m", TokenUsage(100)))
    before = (TODAY - timedelta(microseconds=1)).isoformat()
    after = (TODAY + timedelta(days=1)).isoformat()
    assert compute_cost(meter, prices, before) == RequestCost(100, 1)
    assert compute_cost(meter, prices, STARTED_AT) == RequestCost(200, 2)
    assert compute_cost(meter, prices, after) == RequestCost(300, 3)
    assert compute_cost(meter, prices, "2025-12-31T23:59:59+00:00") == RequestCost()


@pytest.mark.parametrize(
    "calls",
    [
        (("m", TokenUsage(1)), ("other", TokenUsage(1))),
        (("other", TokenUsage(1)), ("m", TokenUsage(1))),
        (("m", TokenUsage(1)), ("m", None)),
    ],
)
def test_one_call_of_unknown_cost_makes_the_cost_unknown(calls: Any) -> None:
    prices = make_directory({"id": 7, **USD_1_AND_2})
    assert compute_cost(make_meter(*calls), prices, STARTED_AT) == RequestCost(None, None)


def test_a_price_of_nothing_is_not_unknown() -> None:
    prices = make_directory({"id": 7, "prompt_usd": Decimal(0), "completion_usd": Decimal(0)})
    meter = make_meter(("m", TokenUsage(100, 100)))
    assert compute_cost(meter, prices, STARTED_AT) == RequestCost(0, 7)


@pytest.mark.parametrize(
    "prices", [PriceDirectory(), make_directory(USD_1_AND_2)], ids=["none", "some"]
)
def test_a_request_that_nobody_answered_costs_nothing(prices: PriceDirectory) -> None:
    assert compute_cost(make_meter(), prices, STARTED_AT) == RequestCost(0)
    failed = make_meter(("m", None), outcome="ServerFailed")
    assert compute_cost(failed, prices, STARTED_AT) == RequestCost(0)


def test_without_any_price_the_cost_of_tokens_is_unknown() -> None:
    meter = make_meter(("m", TokenUsage(1)))
    assert compute_cost(meter, PriceDirectory(), STARTED_AT) == RequestCost()


def test_the_price_of_a_request_is_paid_for_each_answered_call() -> None:
    prices = make_directory({"request_usd": Decimal("0.01"), **USD_1_AND_2})
    meter = make_meter(("m", TokenUsage(1)), ("m", TokenUsage(1)))
    assert compute_cost(meter, prices, STARTED_AT).micro_usd == 20_002


amounts = st.integers(0, 10**11).map(lambda number: Decimal(number).scaleb(-8))
some_calls = st.lists(
    st.builds(
        AnsweredCall,
        provider_id=st.just(13),
        upstream_model=st.sampled_from(["a", "b"]),
        usage=st.builds(TokenUsage, prompt=st.integers(0, 10**6), completion=st.integers(0, 10**6)),
        billed=st.just(NO_UNITS),
    ),
    max_size=8,
)


@FAST
@given(first=amounts, second=amounts, calls=some_calls, at=st.integers(0, 8))
def test_parts_of_a_request_sum_up_to_the_whole(
    first: Decimal, second: Decimal, calls: list[AnsweredCall], at: int
) -> None:
    prices = make_directory(
        {"upstream_model": "a", "prompt_usd": first, "completion_usd": second},
        {"upstream_model": "b", "prompt_usd": second, "completion_usd": first},
    )
    whole, _ = sum_call_costs(calls, prices, TODAY)
    left, _ = sum_call_costs(calls[:at], prices, TODAY)
    right, _ = sum_call_costs(calls[at:], prices, TODAY)
    assert whole is not None
    assert left is not None
    assert right is not None
    assert abs(whole - left - right) <= 1  # each of the three is rounded once
    units = [prices.find_price(13, call.upstream_model, TODAY) for call in calls]
    exact = sum(
        price.charge_call(call.usage) or 0
        for price, call in zip(units, calls, strict=True)
        if price is not None and call.usage is not None
    )
    assert abs(whole * 10**8 - exact) <= 10**8 // 2
