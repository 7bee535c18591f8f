"""The cost that an upstream reports itself."""

from decimal import Decimal
from typing import Any

import pytest

from api.pricing.reported_cost import read_reported_usd, sum_reported_costs
from providers.protocol.attempt import Attempt
from providers.protocol.usage_meter import MeteredCall, TextMemory


def make_call(usage: dict[str, Any] | None, outcome: str = "answered") -> MeteredCall:
    call = MeteredCall(TextMemory(), {}, Attempt("p", "m", None, 13, outcome))
    call.reported = usage
    return call


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"cost": 0.00123}, "0.00123"),
        ({"cost": 0}, "0"),
        ({"cost": 1e-07}, "1E-7"),
        # with a key of one's own OpenRouter takes its fee, and the upstream its price
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}, "1.05"),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, "19.95"),
        ({"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}}, "0.5"),
        ({"cost": 0.5, "cost_details": {"upstream_inference_cost": None}}, "0.5"),
        ({"cost": 0.5, "cost_details": "none"}, "0.5"),
        # xAI's example: 37756000 ticks
        ({"cost_in_usd_ticks": 37_756_000}, "0.0037756"),
        ({"cost": 10**6}, "1000000"),
    ],
)
def test_costs_as_services_report_them(usage: dict[str, Any], usd: str) -> None:
    assert read_reported_usd(usage) == Decimal(usd)


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": 1},
        {"cost": -0.01},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": 10**6 + 1},
        {"cost": 1e300},
        {"cost": True},
        {"cost": "0.5"},
        {"cost": None},
        {"cost": {"total": 1}},
        {"cost_in_usd_ticks": -1},
        {"cost_in_usd_ticks": 10**30},
    ],
    ids=str,
)
def test_figures_that_are_no_costs_are_ignored(usage: dict[str, Any]) -> None:
    assert read_reported_usd(usage) is None
    assert sum_reported_costs([make_call(usage)]) is None


def test_costs_of_answered_calls_are_summed_and_rounded_once() -> None:
    calls = [make_call({"cost": 0.0000004}) for _ in range(3)]
    assert sum_reported_costs(calls) == 1  # 1.2 micro-USD
    calls.append(make_call({"cost": 0.0000003}))
    assert sum_reported_costs(calls) == 2  # 1.5 micro-USD
    others = [make_call(None), make_call({"cost": 9}, outcome="ServerFailed")]
    assert sum_reported_costs(calls + others) == 2
    assert sum_reported_costs(others) is None
