"""The directory of prices: what is read, found and estimated."""

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from api.pricing.price_directory import PriceDirectory, read_directory
from api.tests.pricing.price_rows import LONG_AGO, TODAY, create_price, make_directory
from providers.models import Provider
from providers.protocol.usage_meter import TokenUsage


def make_candidate(provider_id: int, model: str) -> Any:
    upstream = SimpleNamespace(id=provider_id)
    return SimpleNamespace(
        adapter=SimpleNamespace(upstream=upstream), model=SimpleNamespace(name=model)
    )


def test_prices_are_read_as_they_are_in_the_database(echo: Provider) -> None:
    tiers = [{"above_prompt_tokens": 10, "prompt_usd": "4"}]
    old = create_price(echo, prompt_usd="1.5", cached_usd="0.25", tiers=tiers)
    new = create_price(echo, valid_from=TODAY, completion_usd="3", request_usd="0.5")
    directory = read_directory()
    found = directory.find_price(echo.pk, "big", TODAY - timedelta(seconds=1))
    assert found is not None
    assert found.price_id == old.pk
    assert found.charge_call(TokenUsage(10, cached=10)) == 10 * 25_000_000
    assert found.charge_call(TokenUsage(11)) == 11 * 4 * 10**8
    found = directory.find_price(echo.pk, "big", TODAY)
    assert found is not None
    assert (found.price_id, found.request_units) == (new.pk, 500_000 * 10**8)
    assert directory.find_price(echo.pk, "big", LONG_AGO - timedelta(seconds=1)) is None
    assert directory.find_price(echo.pk, "bigger", TODAY) is None
    assert directory.find_price(None, "big", TODAY) is None


def test_an_empty_directory_is_false(echo: Provider) -> None:
    assert not PriceDirectory()
    assert not read_directory()
    create_price(echo)
    assert read_directory()


def test_rows_that_are_applied_replace_all_before(echo: Provider) -> None:
    directory = make_directory({"prompt_usd": Decimal(1)})
    directory.apply_rows([])
    assert not directory


# --- estimates ------------------------------------------------------------------------------------
def test_the_estimate_is_the_most_expensive_of_the_known_prices() -> None:
    directory = make_directory(
        {"upstream_model": "a", "prompt_usd": Decimal(1), "completion_usd": Decimal(8)},
        {
            "upstream_model": "b",
            "prompt_usd": Decimal(2),
            "cache_write_usd": Decimal(3),
            "completion_usd": Decimal(4),
            "request_usd": Decimal("0.0001"),
        },
    )
    cheap, dear, unknown = (make_candidate(13, name) for name in ("a", "b", "c"))
    assert directory.estimate_highest_cost([cheap], 10, 5, TODAY) == 50
    # written to the cache, 10 tokens cost 30; 5 cost 20; and the request 100
    assert directory.estimate_highest_cost([cheap, dear, unknown], 10, 5, TODAY) == 150
    assert directory.estimate_highest_cost([dear, cheap], 10, 5, TODAY) == 150
    assert directory.estimate_highest_cost([dear, cheap], 0, 100, TODAY) == 800


@pytest.mark.parametrize("directory", [PriceDirectory(), make_directory({"prompt_usd": None})])
def test_without_a_known_price_there_is_no_estimate(directory: PriceDirectory) -> None:
    assert directory.estimate_highest_cost([make_candidate(13, "m")], 1, 1, TODAY) is None
    assert directory.estimate_highest_cost([make_candidate(13, "x")], 1, 1, TODAY) is None
    assert directory.estimate_highest_cost([], 1, 1, TODAY) is None
