"""The cost that an upstream reports itself, in its usage object.

OpenRouter has `cost`, in USD; of a request with the caller's own key there, that is its fee alone,
and `cost_details.upstream_inference_cost` comes on top (openrouter.ai, usage accounting). xAI has
`cost_in_usd_ticks`, ten thousand million of which are a USD (docs.x.ai, cost tracking).
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from providers.protocol.json_types import JsonObject
from providers.protocol.usage_meter import MeteredCall

HIGHEST_REPORTED_USD = 10**6  # a larger figure is no cost of one call
TICKS_PER_USD = 10**10
MICRO_USD_PER_USD = 10**6


def sum_reported_costs(calls: Iterable[MeteredCall]) -> int | None:
    """Return the micro-USD that the upstreams of these calls reported, None when none did."""
    total = None
    for call in calls:
        if call.reported is not None and call.is_answered:
            usd = read_reported_usd(call.reported)
            if usd is not None:
                total = usd if total is None else total + usd
    if total is None:
        return None
    return int((total * MICRO_USD_PER_USD).to_integral_value(ROUND_HALF_UP))


def read_reported_usd(usage: JsonObject) -> Decimal | None:
    """Return the cost in USD that a usage object reports; None without a plausible one."""
    if "cost" in usage:
        cost = parse_usd(usage["cost"])
        details = usage.get("cost_details")
        if cost is None or usage.get("is_byok") is False or not isinstance(details, dict):
            return cost
        return cost + (parse_usd(details.get("upstream_inference_cost")) or 0)
    if "cost_in_usd_ticks" in usage:
        return parse_usd(usage["cost_in_usd_ticks"], TICKS_PER_USD)
    return None


def parse_usd(value: object, units_per_usd: int = 1) -> Decimal | None:
    """Return a plausible amount in USD, or None for anything else, such as NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    amount = Decimal(repr(value)) / units_per_usd
    return amount if amount.is_finite() and 0 <= amount <= HIGHEST_REPORTED_USD else None
