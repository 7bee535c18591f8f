"""The list prices in `well_known_prices.yaml`, and what they would change in the database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from api.models import Price
from api.pricing.price_texts import render_usd
from api.pricing.price_values import ABOVE, TOKEN_COLUMNS, USD_COLUMNS
from providers.models import Provider

DATA_PATH = Path(__file__).with_name("well_known_prices.yaml")
NEW = "new"
CHANGED = "changed"
SAME = "same"
KEPT = "kept"


@dataclass(frozen=True, slots=True)
class PlannedPrice:
    """A list price for a provider's model, and its outcome.

    `new`: there is no price yet. `changed`: it differs from `before`, the row in force then.
    `same`: it is there already. `kept`: the provider has a newer row, `before`, which stays.
    """

    price: Price
    outcome: str
    before: Price | None = None

    @property
    def is_to_write(self) -> bool:
        """Return whether the price would be written."""
        return self.outcome in (NEW, CHANGED)


def plan_prices(providers: Sequence[Provider]) -> list[PlannedPrice]:
    """Return the list prices of these providers' hosts, each with its outcome; nothing is written.

    Raises ValidationError when the file has an impossible price.
    """
    sections = yaml.safe_load(DATA_PATH.read_text())
    plans: list[PlannedPrice] = []
    for provider in providers:
        host = urlsplit(provider.base_url).hostname
        plans += plan_provider(provider, list(read_list_prices(sections, host)))
    return plans


def plan_provider(provider: Provider, rows: Sequence[Price]) -> list[PlannedPrice]:
    """Return list prices with their outcomes for one provider."""
    present: dict[str, list[Price]] = {}
    for price in provider.prices.order_by("valid_from"):
        present.setdefault(price.upstream_model, []).append(price)
    plans = []
    for row in rows:
        row.provider = provider
        row.clean_fields()
        row.clean()
        model_prices = present.setdefault(row.upstream_model, [])
        plan = plan_price(row, model_prices)
        if plan.is_to_write:
            model_prices.append(row)
        plans.append(plan)
    return plans


def plan_price(row: Price, present: Sequence[Price]) -> PlannedPrice:
    """Return a list price with its outcome; `present` are the model's prices, the oldest first."""
    before = None
    has_newer = False
    for price in present:
        if price.valid_from <= row.valid_from:
            before = price
        has_newer = has_newer or price.valid_from >= row.valid_from
    if before is not None and not list_differences(before, row):
        return PlannedPrice(row, SAME, before)
    if has_newer:
        return PlannedPrice(row, KEPT, present[-1])
    return PlannedPrice(row, NEW if before is None else CHANGED, before)


def list_differences(before: Price, after: Price) -> list[str]:
    """Return the columns with prices that differ, each with both values in words."""
    columns = [*USD_COLUMNS, "tiers"]
    return [
        f"{name.removesuffix('_usd')} {describe_value(getattr(before, name))} → "
        f"{describe_value(getattr(after, name))}"
        for name in columns
        if getattr(before, name) != getattr(after, name)
    ]


def describe_value(value: object) -> str:
    """Return a price or the tiers in few characters."""
    if isinstance(value, Decimal):
        return render_usd(value)
    return "none" if value in (None, []) else str(value)


def read_list_prices(sections: Sequence[Mapping[str, Any]], host: str | None) -> Iterator[Price]:
    """Yield the prices of a host as rows without a provider, the oldest of a model first."""
    for section in sections:
        if host not in section["hosts"]:
            continue
        for model, entries in section["models"].items():
            for entry in entries if isinstance(entries, list) else [entries]:
                yield make_price(str(model), entry, section)


def make_price(model: str, entry: Mapping[str, Any], section: Mapping[str, Any]) -> Price:
    """Return an entry of the file as a row, which is not saved."""
    valid_from: date = entry.get("from", section["checked"])
    tiers = [
        {ABOVE: tier[ABOVE], **{name: str(usd) for name, usd in read_usd(tier).items()}}
        for tier in entry.get("tiers", ())
    ]
    return Price(
        upstream_model=model,
        valid_from=datetime.combine(valid_from, time(), UTC),
        tiers=tiers,
        source=entry.get("source", section["source"]),
        **read_usd(entry),
    )


def read_usd(entry: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the prices of an entry by their columns."""
    return {
        name: Decimal(str(entry[key]))
        for name in TOKEN_COLUMNS
        if (key := name.removesuffix("_usd")) in entry
    }
