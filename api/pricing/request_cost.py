"""The cost of a request: the sum of its answered upstream calls, in whole micro-USD.

Each call costs what the price of its provider and upstream model says, as it was when the request
began. The sum is exact and rounded once, half a micro-USD up. It is unknown (None) when an answered
call took tokens whose price is unknown. A call that no upstream answered costs nothing, so a
request without an answered call costs 0.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from api.pricing.price_directory import PriceDirectory
from api.pricing.price_rates import round_to_micro_usd
from api.pricing.reported_cost import sum_reported_costs
from providers.protocol.billed_units import NO_UNITS, BilledUnits
from providers.protocol.usage_meter import RequestCost, TokenUsage, UsageMeter


class AnsweredCall(NamedTuple):
    """An answered upstream call; `usage` is None when its tokens could not be counted.

    `billed` are the images, seconds, characters or searches that it is billed by.
    """

    provider_id: int | None
    upstream_model: str
    usage: TokenUsage | None
    billed: BilledUnits = NO_UNITS


def compute_cost(
    meter: UsageMeter, prices: PriceDirectory, started_at: str, *, is_batch: bool = False
) -> RequestCost:
    """Return the cost of a request whose tokens are counted; `started_at` is its trace's.

    `is_batch`: it is a line of a batch.
    """
    reported = sum_reported_costs(meter.calls)
    if not prices:
        counted = meter.counted
        is_free = counted is not None and not counted.prompt and not counted.completion
        is_free = is_free and not any(call.billed_units for call in meter.calls)
        return RequestCost(0 if is_free else None, None, reported)
    calls = [
        AnsweredCall(call.attempt.provider_id, call.attempt.model, call.counted, call.billed_units)
        for call in meter.calls
        if call.is_answered and call.attempt is not None
    ]
    began = datetime.fromisoformat(started_at)
    micro_usd, price_id = sum_call_costs(calls, prices, began, is_batch=is_batch)
    return RequestCost(micro_usd, price_id, reported)


def sum_call_costs(
    calls: Iterable[AnsweredCall],
    prices: PriceDirectory,
    started_at: datetime,
    *,
    is_batch: bool = False,
) -> tuple[int | None, int | None]:
    """Return the cost of calls in micro-USD, and the id of the last one's price.

    Both are None when the cost is unknown. Lines of a batch cost the `batch_factor` of each price.
    """
    total_units = 0
    price_id = None
    for provider_id, upstream_model, usage, billed in calls:
        if usage is None:
            return None, None
        price = prices.find_price(provider_id, upstream_model, started_at)
        if price is None:
            if usage.prompt or usage.completion or billed:
                return None, None
            continue
        units = price.charge_call(usage, billed)
        if units is None:
            return None, None
        total_units += price.reduce_for_batch(units) if is_batch else units
        price_id = price.price_id
    return round_to_micro_usd(total_units), price_id
