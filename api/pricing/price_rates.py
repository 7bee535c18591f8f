"""Prices as whole numbers, so that a cost is exact and needs no decimals.

A rate is in units of a hundred-millionth of a micro-USD. A price of 1 USD for a million tokens is
1 micro-USD a token, and prices have at most eight decimal places, so every price is a whole number
of units. Costs are summed in units and rounded once (`round_to_micro_usd`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from api.pricing.price_values import ABOVE, TOKEN_COLUMNS, UNIT_COLUMNS, parse_tier_usd
from providers.protocol.billed_units import NO_UNITS, BilledUnits
from providers.protocol.usage_meter import TokenUsage

UNITS_PER_MICRO_USD = 10**8
UNITS_PER_USD = UNITS_PER_MICRO_USD * 10**6
WHOLE_FACTOR = 10_000  # a factor has at most four decimal places


class Rates(Struct, frozen=True):
    """The units that one token of each kind costs; None is unknown."""

    prompt: int | None
    cached: int | None
    cache_write: int | None
    completion: int | None
    reasoning: int | None

    def charge_tokens(self, usage: TokenUsage) -> int | None:
        """Return the cost of these tokens in units; None when the price of some is unknown.

        Cached and cache-write tokens are prompt tokens, and reasoning tokens are completion tokens,
        so each token is charged once. Parts that are larger than the whole are cut to it.
        """
        cached = min(usage.cached, usage.prompt)
        cache_write = min(usage.cache_write, usage.prompt - cached)
        reasoning = min(usage.reasoning, usage.completion)
        units = 0
        for count, rate in (
            (usage.prompt - cached - cache_write, self.prompt),
            (cached, self.cached),
            (cache_write, self.cache_write),
            (usage.completion - reasoning, self.completion),
            (reasoning, self.reasoning),
        ):
            if count:
                if rate is None:
                    return None
                units += count * rate
        return units

    def charge_highest(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the most units that so many tokens can cost, of whatever kind they are."""
        prompt = find_highest(self.prompt, self.cached, self.cache_write)
        completion = find_highest(self.completion, self.reasoning)
        if (prompt_tokens and prompt is None) or (completion_tokens and completion is None):
            return None
        return prompt_tokens * (prompt or 0) + completion_tokens * (completion or 0)


def find_highest(*rates: int | None) -> int | None:
    """Return the highest of the rates that are known; None when none is."""
    highest = None
    for rate in rates:
        if rate is not None and (highest is None or rate > highest):
            highest = rate
    return highest


class RateTier(Struct, frozen=True):
    """The rates of a call with more than `above_prompt_tokens` prompt tokens."""

    above_prompt_tokens: int
    rates: Rates


class UnitRates(Struct, frozen=True):
    """The units that an image, a second, a character and a search cost; None is unknown."""

    image: int | None = None
    audio_second: int | None = None
    character: int | None = None
    search: int | None = None

    def charge_units(self, units: BilledUnits) -> int | None:
        """Return the cost of these in units of money; None when none of them has a price."""
        total = None
        for thousandths, rate in (
            (units.images * 1_000, self.image),
            (round(units.audio_seconds * 1_000) or int(units.lacks_seconds), self.audio_second),
            (units.characters * 1_000, self.character),
            (units.search_units * 1_000, self.search),
        ):
            if thousandths and rate is not None:
                total = (total or 0) + thousandths * rate // 1_000
        return total


NO_UNIT_RATES = UnitRates()


class PriceRates(Struct, frozen=True):
    """One row of prices, in units; `tiers` begin with the one for the longest prompts."""

    price_id: int
    valid_from: datetime
    rates: Rates
    request_units: int | None = None
    tiers: tuple[RateTier, ...] = ()
    unit_rates: UnitRates = NO_UNIT_RATES
    batch_parts: int = WHOLE_FACTOR  # what lines of a batch cost, in parts of WHOLE_FACTOR

    def reduce_for_batch(self, units: int) -> int:
        """Return what a call costs in a batch, if it costs so many units outside of one."""
        return units * self.batch_parts // WHOLE_FACTOR

    def find_rates(self, prompt_tokens: int) -> Rates:
        """Return the rates of a call with so many prompt tokens: they hold for all its tokens."""
        for tier in self.tiers:
            if prompt_tokens > tier.above_prompt_tokens:
                return tier.rates
        return self.rates

    def charge_call(self, usage: TokenUsage, billed: BilledUnits = NO_UNITS) -> int | None:
        """Return the cost of an answered call in units; None when it is unknown.

        Prices of a row add up. Tokens without a price cost nothing where the call's images,
        seconds, characters or searches have one.
        """
        token_cost = self.find_rates(usage.prompt).charge_tokens(usage)
        has_tokens = bool(usage.prompt or usage.completion)
        return self._add_costs(token_cost, has_tokens, billed)

    def charge_highest(
        self, prompt_tokens: int, completion_tokens: int, billed: BilledUnits = NO_UNITS
    ) -> int | None:
        """Return the most units that an answered call with so many tokens can cost."""
        rates = self.find_rates(prompt_tokens)
        token_cost = rates.charge_highest(prompt_tokens, completion_tokens)
        return self._add_costs(token_cost, bool(prompt_tokens or completion_tokens), billed)

    def _add_costs(
        self, token_cost: int | None, has_tokens: bool, billed: BilledUnits
    ) -> int | None:
        """Return the cost of a call with its units; `token_cost` is None where it is unknown."""
        request_cost = self.request_units or 0
        if billed.lacks_seconds and self.unit_rates.audio_second:
            return None  # only a price of 0 says the cost of audio of unknown length
        if billed:
            unit_cost = self.unit_rates.charge_units(billed)
            if unit_cost is not None:
                return unit_cost + (token_cost or 0) + request_cost
            if not has_tokens and self.request_units is None:
                return None  # nothing of what the call is billed by has a price
        return None if token_cost is None else token_cost + request_cost


def make_price_rates(columns: Mapping[str, Any]) -> PriceRates:
    """Return a Price row's columns (`price_directory.COLUMNS`) in units."""
    tiers: Sequence[Mapping[str, Any]] = columns["tiers"]
    request_usd: Decimal | None = columns["request_usd"]
    return PriceRates(
        price_id=columns["id"],
        valid_from=columns["valid_from"],
        rates=make_rates(columns),
        request_units=None if request_usd is None else int(request_usd * UNITS_PER_USD),
        tiers=tuple(RateTier(tier[ABOVE], make_tier_rates(columns, tier)) for tier in tiers[::-1]),
        unit_rates=make_unit_rates(columns),
        batch_parts=int(columns["batch_factor"] * WHOLE_FACTOR),
    )


def make_unit_rates(columns: Mapping[str, Any]) -> UnitRates:
    """Return the prices of images, audio, characters and searches as rates."""
    scales = (UNITS_PER_USD, UNITS_PER_USD, UNITS_PER_MICRO_USD, UNITS_PER_USD)
    rates = [
        None if (usd := columns[name]) is None else int(usd * scale)
        for name, scale in zip(UNIT_COLUMNS, scales, strict=True)
    ]
    return UnitRates(*rates)


def make_rates(prices: Mapping[str, Decimal | None]) -> Rates:
    """Return prices for a million tokens as rates.

    Without a price of their own, cached and cache-write tokens cost as much as prompt tokens, and
    reasoning tokens as much as completion tokens.
    """
    units = {
        name: None if (price := prices[name]) is None else int(price * UNITS_PER_MICRO_USD)
        for name in TOKEN_COLUMNS
    }
    prompt = units["prompt_usd"]
    completion = units["completion_usd"]
    return Rates(
        prompt=prompt,
        cached=prompt if units["cached_usd"] is None else units["cached_usd"],
        cache_write=prompt if units["cache_write_usd"] is None else units["cache_write_usd"],
        completion=completion,
        reasoning=completion if units["reasoning_usd"] is None else units["reasoning_usd"],
    )


def make_tier_rates(columns: Mapping[str, Any], tier: Mapping[str, Any]) -> Rates:
    """Return the rates of a tier: its own prices, and those of the row where it has none."""
    prices = {
        name: parse_tier_usd(name, tier[name]) if name in tier else columns[name]
        for name in TOKEN_COLUMNS
    }
    return make_rates(prices)


def round_to_micro_usd(units: int) -> int:
    """Return a cost as whole micro-USD, half of one rounded up."""
    return (units + UNITS_PER_MICRO_USD // 2) // UNITS_PER_MICRO_USD
