"""Impossible prices are refused, each with one sentence."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from api.pricing.price_values import validate_tiers

TIER = {"above_prompt_tokens": 200_000, "prompt_usd": "2.5"}


@pytest.mark.parametrize(
    "tiers",
    [
        [],
        [TIER],
        [TIER, TIER | {"above_prompt_tokens": 200_001, "completion_usd": 15, "cached_usd": 0.25}],
        [TIER | {"reasoning_usd": "0", "cache_write_usd": "99999999.99999999"}],
    ],
    ids=len,
)
def test_tiers_that_ascend_are_accepted(tiers: list[dict[str, Any]]) -> None:
    validate_tiers(tiers)


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ({}, "Tiers are a list."),
        ("x", "Tiers are a list."),
        ([5], "5 is no tier: write {} with above_prompt_tokens and prices."),
        ([TIER | {"request_usd": 1}], "A tier has no field 'request_usd'; there are: "),
        ([TIER, TIER], "The tiers must ascend: 200000 comes after 200000."),
        ([TIER, TIER | {"above_prompt_tokens": 5}], "must ascend: 5 comes after 200000."),
        ([{"prompt_usd": 1}], "must be a number of tokens from 1 to 1000000000, not None."),
        ([TIER | {"above_prompt_tokens": 0}], "not 0."),
        ([TIER | {"above_prompt_tokens": -1}], "not -1."),
        ([TIER | {"above_prompt_tokens": True}], "not True."),
        ([TIER | {"above_prompt_tokens": 1.5}], "not 1.5."),
        ([TIER | {"above_prompt_tokens": 10**10}], "not 10000000000."),
        ([{"above_prompt_tokens": 1}], "The tier above 1 tokens has no price."),
        ([TIER | {"prompt_usd": -1}], "prompt_usd of a tier cannot be negative."),
        ([TIER | {"prompt_usd": "x"}], "must be a price in USD such as 2.5, not 'x'."),
        ([TIER | {"prompt_usd": None}], "must be a price in USD such as 2.5, not None."),
        ([TIER | {"prompt_usd": True}], "must be a price in USD such as 2.5, not True."),
        ([TIER | {"prompt_usd": "NaN"}], "must be a price in USD such as 2.5, not 'NaN'."),
        ([TIER | {"prompt_usd": 1e-9}], "must be a price in USD such as 2.5, not 1e-09."),
        ([TIER | {"prompt_usd": 10**8}], "prompt_usd of a tier must be less than 100000000."),
    ],
    ids=str,
)
def test_misshapen_tiers_are_refused_with_a_sentence(tiers: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_tiers(tiers)
    (message,) = caught.value.messages
    assert sentence in message
