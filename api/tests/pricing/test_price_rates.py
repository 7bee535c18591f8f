"""Prices as whole numbers: each kind of token, tiers, and sums without an error of rounding."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.pricing.price_rates import PriceRates, make_price_rates, round_to_micro_usd
from api.tests.pricing.price_rows import NO_PRICE
from providers.protocol.usage_meter import TokenUsage

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=200)


def make_rates(**prices: Any) -> PriceRates:
    amounts = {
        name: Decimal(value) if name.endswith("_usd") else value for name, value in prices.items()
    }
    return make_price_rates(NO_PRICE | {"id": 1} | amounts)


GPT_5_MINI = {"prompt_usd": "0.25", "cached_usd": "0.025", "completion_usd": "2"}
CLAUDE = {
    "prompt_usd": "3",
    "cached_usd": "0.3",
    "cache_write_usd": "3.75",
    "completion_usd": "15",
}
GEMINI = {
    "prompt_usd": "1.25",
    "cached_usd": "0.125",
    "completion_usd": "10",
    "tiers": [
        {"above_prompt_tokens": 200_000, "prompt_usd": "2.5", "completion_usd": 15},
        {"above_prompt_tokens": 500_000, "prompt_usd": 5, "cached_usd": "0.5"},
    ],
}


# --- figures by hand ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("prices", "usage", "micro_usd"),
    [
        # 1000 × 0.25 + 500 × 2
        (GPT_5_MINI, TokenUsage(1_000, 500), 1_250),
        # 200 × 0.25 + 800 × 0.025 + 500 × 2
        (GPT_5_MINI, TokenUsage(1_000, 500, cached=800), 1_070),
        # reasoning costs what the rest of the completion costs: 1000 × 0.25 + 500 × 2
        (GPT_5_MINI, TokenUsage(1_000, 500, reasoning=400), 1_250),
        # 100 × 3 + 600 × 0.3 + 300 × 3.75 + 10 × 15 = 300 + 180 + 1125 + 150
        (CLAUDE, TokenUsage(1_000, 10, cached=600, cache_write=300), 1_755),
        # 100 × 0.4 + 20 × 1.2 + 80 × 4
        (
            {"prompt_usd": "0.4", "completion_usd": "1.2", "reasoning_usd": "4"},
            TokenUsage(100, 100, reasoning=80),
            384,
        ),
        # no tokens at all; the price of the request alone: 0.005 USD
        ({"request_usd": "0.005"}, TokenUsage(), 5_000),
        # 10 × 1 + 1 × 5 + 5000
        (
            {"prompt_usd": "1", "completion_usd": "5", "request_usd": "0.005"},
            TokenUsage(10, 1),
            5_015,
        ),
        # free is not unknown
        ({"prompt_usd": "0", "completion_usd": "0"}, TokenUsage(10**9, 10**9), 0),
        # the finest price there is, a million times: 0.01 micro-USD
        ({"prompt_usd": "0.00000001"}, TokenUsage(10**6), 0),
        ({"prompt_usd": "0.00000001"}, TokenUsage(50 * 10**6), 1),
    ],
)
def test_each_kind_of_token_has_its_price(
    prices: dict[str, Any], usage: TokenUsage, micro_usd: int
) -> None:
    units = make_rates(**prices).charge_call(usage)
    assert units is not None
    assert round_to_micro_usd(units) == micro_usd


@pytest.mark.parametrize(
    ("usage", "micro_usd"),
    [
        # up to the threshold: 200000 × 1.25 + 10 × 10
        (TokenUsage(200_000, 10), 250_100),
        # one token more, and the whole call has the tier's prices: 200001 × 2.5 + 10 × 15
        (TokenUsage(200_001, 10), 500_153),  # 500002.5 + 150, half a micro-USD up
        # a price that the tier lacks is that of the row: 100001 × 2.5 + 100000 × 0.125
        (TokenUsage(200_001, 0, cached=100_000), 262_503),  # 250002.5 + 12500
        # 400001 × 5 + 100000 × 0.5 + 1 × 10
        (TokenUsage(500_001, 1, cached=100_000), 2_050_015),
    ],
)
def test_a_long_prompt_puts_its_whole_call_into_a_tier(usage: TokenUsage, micro_usd: int) -> None:
    units = make_rates(**GEMINI).charge_call(usage)
    assert units is not None
    assert round_to_micro_usd(units) == micro_usd


@pytest.mark.parametrize(
    ("usage", "same_as"),
    [
        (TokenUsage(10, 0, cached=50), TokenUsage(10, 0, cached=10)),
        (
            TokenUsage(10, 0, cached=6, cache_write=50),
            TokenUsage(10, 0, cached=6, cache_write=4),
        ),
        (TokenUsage(0, 5, reasoning=50), TokenUsage(0, 5, reasoning=5)),
    ],
)
def test_parts_beyond_the_whole_are_not_charged(usage: TokenUsage, same_as: TokenUsage) -> None:
    rates = make_rates(**CLAUDE, reasoning_usd="20")
    assert rates.charge_call(usage) == rates.charge_call(same_as)


@pytest.mark.parametrize(
    ("prices", "usage", "is_known"),
    [
        ({"completion_usd": "1"}, TokenUsage(1, 1), False),
        ({"completion_usd": "1"}, TokenUsage(0, 1), True),
        ({"prompt_usd": "1"}, TokenUsage(1, 0), True),  # embeddings
        ({"prompt_usd": "1"}, TokenUsage(1, 1), False),
        ({"completion_usd": "1", "cached_usd": "1"}, TokenUsage(5, 1, cached=5), True),
        ({"completion_usd": "1", "cached_usd": "1"}, TokenUsage(6, 1, cached=5), False),
        ({"request_usd": "1"}, TokenUsage(1, 1), False),
    ],
)
def test_tokens_without_a_price_make_the_cost_unknown(
    prices: dict[str, Any], usage: TokenUsage, is_known: bool
) -> None:
    assert (make_rates(**prices).charge_call(usage) is not None) is is_known


# --- properties -----------------------------------------------------------------------------------
prices_in_usd = st.integers(0, 10**14).map(lambda number: Decimal(number).scaleb(-8))
counts = st.integers(min_value=0, max_value=10**9)
usages = st.builds(
    TokenUsage,
    prompt=counts,
    completion=counts,
    reasoning=counts,
    cached=counts,
    cache_write=counts,
)


@FAST
@given(
    prompt=prices_in_usd,
    cached=prices_in_usd,
    cache_write=prices_in_usd,
    completion=prices_in_usd,
    reasoning=prices_in_usd,
    usage=usages,
)
def test_a_cost_is_that_of_exact_fractions(
    prompt: Decimal,
    cached: Decimal,
    cache_write: Decimal,
    completion: Decimal,
    reasoning: Decimal,
    usage: TokenUsage,
) -> None:
    rates = make_rates(
        prompt_usd=prompt,
        cached_usd=cached,
        cache_write_usd=cache_write,
        completion_usd=completion,
        reasoning_usd=reasoning,
    )
    units = rates.charge_call(usage)
    assert units is not None
    read = min(usage.cached, usage.prompt)
    written = min(usage.cache_write, usage.prompt - read)
    thought = min(usage.reasoning, usage.completion)
    exact = (
        (usage.prompt - read - written) * Fraction(prompt)
        + read * Fraction(cached)
        + written * Fraction(cache_write)
        + (usage.completion - thought) * Fraction(completion)
        + thought * Fraction(reasoning)
    )
    assert Fraction(units, 10**8) == exact
    assert Fraction(-1, 2) < round_to_micro_usd(units) - exact <= Fraction(1, 2)


@FAST
@given(usage=usages, prices=st.fixed_dictionaries(dict.fromkeys(CLAUDE, prices_in_usd)))
def test_no_call_costs_more_than_the_estimate_of_its_tokens(
    usage: TokenUsage, prices: dict[str, Decimal]
) -> None:
    rates = make_rates(**prices, tiers=GEMINI["tiers"], request_usd="0.01")
    cost = rates.charge_call(usage)
    highest = rates.charge_highest(usage.prompt, usage.completion)
    assert cost is not None
    assert highest is not None
    assert cost <= highest
