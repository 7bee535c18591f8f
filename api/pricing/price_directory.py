"""All prices in memory, in every process.

`proxysite/server/change_watcher.py` reads them anew when the topic `prices` changes.
"""

from collections.abc import Iterable
from datetime import datetime

from api.models import Price
from api.pricing.price_rates import PriceRates, make_price_rates, round_to_micro_usd
from api.pricing.price_values import TOKEN_COLUMNS, UNIT_COLUMNS
from providers.catalogue import Candidate
from providers.protocol.billed_units import NO_UNITS, BilledUnits
from providers.protocol.json_types import JsonObject

COLUMNS = (
    "id",
    "provider_id",
    "upstream_model",
    "valid_from",
    *TOKEN_COLUMNS,
    "request_usd",
    *UNIT_COLUMNS,
    "tiers",
    "batch_factor",
)


def read_prices() -> list[JsonObject]:
    """Read all prices from the database, the latest first; run it in a database thread."""
    return list(Price.objects.order_by("-valid_from").values(*COLUMNS))


def read_directory() -> "PriceDirectory":
    """Read a directory from the database, for commands and pages; run it in a database thread."""
    directory = PriceDirectory()
    directory.apply_rows(read_prices())
    return directory


class PriceDirectory:
    """The prices of each upstream model, by provider id and the provider's name of the model."""

    def __init__(self) -> None:
        self._prices: dict[tuple[int | None, str], list[PriceRates]] = {}

    def __bool__(self) -> bool:
        return bool(self._prices)

    def apply_rows(self, rows: Iterable[JsonObject]) -> None:
        """Put the rows of `read_prices` in force."""
        prices: dict[tuple[int | None, str], list[PriceRates]] = {}
        for row in rows:
            key = (row["provider_id"], row["upstream_model"])
            prices.setdefault(key, []).append(make_price_rates(row))
        self._prices = prices

    def find_price(
        self, provider_id: int | None, upstream_model: str, started_at: datetime
    ) -> PriceRates | None:
        """Return the latest price that was valid when a request began; None when there is none."""
        for price in self._prices.get((provider_id, upstream_model), ()):
            if price.valid_from <= started_at:
                return price
        return None

    def estimate_highest_cost(
        self,
        candidates: Iterable[Candidate],
        prompt_tokens: int,
        completion_tokens: int,
        started_at: datetime,
        billed: BilledUnits = NO_UNITS,
    ) -> int | None:
        """Return the most micro-USD that one call with so many tokens can cost, before it is made.

        It is the cost at the most expensive of the candidates whose price is known, as if no token
        were cached. None when no price is known.
        """
        if not self._prices:
            return None
        highest = None
        for candidate in candidates:
            provider_id = candidate.adapter.upstream.id
            price = self.find_price(provider_id, candidate.model.name, started_at)
            if price is None:
                continue
            units = price.charge_highest(prompt_tokens, completion_tokens, billed)
            if units is not None and (highest is None or units > highest):
                highest = units
        return None if highest is None else round_to_micro_usd(highest)
