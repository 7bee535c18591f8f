"""Images, seconds of audio, characters and searches have prices of their own."""

from decimal import Decimal
from typing import Any

import pytest

from api.pricing.price_directory import PriceDirectory
from api.pricing.request_cost import AnsweredCall, compute_cost, sum_call_costs
from api.tests.pricing.price_rows import TODAY, make_directory
from providers.protocol.attempt import Attempt
from providers.protocol.billed_units import NO_UNITS, BilledUnits, read_billed_units
from providers.protocol.usage_meter import TokenUsage, UsageMeter

EVERYTHING = BilledUnits(images=2, audio_seconds=1.5, characters=40, search_units=3)


def charge(billed: BilledUnits, usage: TokenUsage | None = None, **prices: str) -> int | None:
    """Return the micro-USD of one call."""
    rows = make_directory({name: Decimal(usd) for name, usd in prices.items()})
    call = AnsweredCall(13, "m", usage or TokenUsage(), billed)
    return sum_call_costs([call], rows, TODAY)[0]


@pytest.mark.parametrize(
    ("prices", "micro_usd"),
    [
        ({"image_usd": "0.04"}, 80_000),
        ({"audio_second_usd": "0.0001"}, 150),
        ({"characters_usd": "15"}, 600),
        ({"search_usd": "0.002"}, 6_000),
        ({"image_usd": "0.04", "search_usd": "0.002"}, 86_000),
        ({"request_usd": "0.01"}, 10_000),
        ({"prompt_usd": "1"}, None),
        ({"image_usd": "0"}, 0),
    ],
)
def test_each_unit_has_its_price(prices: dict[str, str], micro_usd: int | None) -> None:
    assert charge(EVERYTHING, **prices) == micro_usd


def test_tokens_without_a_price_cost_nothing_beside_units_with_one() -> None:
    usage = TokenUsage(10, 20)
    assert charge(BilledUnits(images=1), usage, image_usd="1") == 10**6
    assert charge(BilledUnits(images=1), usage, prompt_usd="5", completion_usd="40") == 50 + 800
    assert charge(BilledUnits(images=1), usage, prompt_usd="5") is None
    assert (
        charge(BilledUnits(images=1), usage, prompt_usd="5", completion_usd="40", image_usd="1")
        == 10**6 + 850
    )


def test_audio_of_unknown_length_is_not_free() -> None:
    unknown = BilledUnits(lacks_seconds=True)
    assert charge(unknown, audio_second_usd="0.0001") is None
    assert charge(unknown) is None
    assert charge(unknown, prompt_usd="1", completion_usd="1") is None
    assert charge(unknown, TokenUsage(10, 5), prompt_usd="1", completion_usd="1") == 15
    assert charge(unknown, request_usd="0.01") == 10_000
    assert charge(unknown, audio_second_usd="0") == 0


def test_an_estimate_counts_the_requested_units() -> None:
    rates = make_directory({"image_usd": Decimal("0.04")}).find_price(13, "m", TODAY)
    assert rates is not None
    assert rates.charge_highest(100, 0, BilledUnits(images=3)) == 12 * 10**4 * 10**8
    assert rates.charge_highest(100, 0) is None


def test_units_without_any_price_are_not_free() -> None:
    meter = UsageMeter()
    call = meter.begin_call({})
    call.attempt = Attempt("p", "m", None, 13, "answered", units=BilledUnits(audio_seconds=9))
    call.counted = meter.counted = TokenUsage()
    for prices in (PriceDirectory(), make_directory({"upstream_model": "other"})):
        assert compute_cost(meter, prices, TODAY.isoformat()).micro_usd is None
    call.attempt.units = None
    assert compute_cost(meter, PriceDirectory(), TODAY.isoformat()).micro_usd == 0


@pytest.mark.parametrize("stored", [None, {}, [], "x", {"images": "two"}, {"images": None}])
def test_odd_units_in_a_record_are_none(stored: Any) -> None:
    assert read_billed_units(stored) == NO_UNITS
    assert read_billed_units(EVERYTHING.as_dict()) == EVERYTHING
