"""`list_prices`: the prices of upstream models, or the models whose price is unknown."""

import json
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from api.models import Price
from api.pricing.price_texts import render_usd
from api.pricing.price_values import ABOVE, USD_COLUMNS
from api.pricing.unknown_prices import UnknownPrice, find_unknown_prices
from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from providers.protocol.json_types import JsonObject

TABLE_HEAD = (
    "PROVIDER",
    "MODEL",
    "FROM",
    "PROMPT",
    "CACHED",
    "CACHE WRITE",
    "COMPLETION",
    "REASONING",
    "REQUEST",
    "TIERS",
)
UNKNOWN_HEAD = ("PROVIDER", "MODEL", "REQUESTS", "CALLED")


class Command(GatewayCommand):
    help = (
        "List the prices in force and those of later, in USD per million tokens, or with "
        "--unknown the models used in the last 30 days that have none."
    )
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--unknown", action="store_true", help="models that were used and have no price"
        )
        parser.add_argument("--provider", default="", help="only this one's")
        parser.add_argument("--history", action="store_true", help="earlier prices, too")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: object, unknown: bool, provider: str, **options: Any) -> None:
        provider_id = find_provider(provider).pk if provider else None
        head: tuple[str, ...] = TABLE_HEAD
        nothing = "No prices yet: seed_prices, set_price or the admin make them."
        if unknown:
            entries = [
                make_unknown_entry(price)
                for price in find_unknown_prices()
                if provider_id in (None, price.provider.pk)
            ]
            head = UNKNOWN_HEAD
            nothing = "Every model that was used in the last 30 days has a price."
        else:
            rows = list_prices(provider_id, has_history=options["history"])
            entries = [make_price_entry(price) for price in rows]
        if options["format"] == "json":
            self.stdout.write(json.dumps(entries))
        elif entries:
            self.write_table([head, *(make_table_row(entry, head) for entry in entries)])
        else:
            self.stdout.write(nothing)

    def write_table(self, lines: list[tuple[str, ...]]) -> None:
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for cells in lines:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            self.stdout.write("  ".join(padded).rstrip())


def list_prices(provider_id: int | None, *, has_history: bool) -> list[Price]:
    """Return the prices of providers by name, those of a model from the latest to the earliest.

    Without the history they end with the one in force.
    """
    prices = Price.objects.select_related("provider").order_by(
        "provider__name", "upstream_model", "-valid_from"
    )
    if provider_id is not None:
        prices = prices.filter(provider_id=provider_id)
    now = timezone.now()
    listed = []
    in_force: set[tuple[int, str]] = set()
    for price in prices:
        key = (price.provider_id, price.upstream_model)
        if has_history or key not in in_force:
            listed.append(price)
        if price.valid_from <= now:
            in_force.add(key)
    return listed


def make_price_entry(price: Price) -> JsonObject:
    """Return the facts of a price; amounts are texts in USD, exact."""
    amounts = {
        name: None if (usd := getattr(price, name)) is None else render_usd(usd)
        for name in USD_COLUMNS
    }
    return {
        "provider": price.provider.name,
        "model": price.upstream_model,
        "from": price.valid_from.isoformat(),
        **amounts,
        "tiers": price.tiers,
        "source": price.source,
    }


def make_unknown_entry(unknown: UnknownPrice) -> JsonObject:
    """Return the facts of a model without a price."""
    return {
        "provider": unknown.provider.name,
        "model": unknown.upstream_model,
        "requests": unknown.requests,
        "called": unknown.models,
    }


def make_table_row(entry: JsonObject, head: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cells of an entry's line, as its head names them."""
    if head is UNKNOWN_HEAD:
        called = ", ".join(entry["called"])
        return (entry["provider"], entry["model"], str(entry["requests"]), called)
    token_columns = USD_COLUMNS[:6]
    tiers = ", ".join(f"> {tier[ABOVE]}" for tier in entry["tiers"])
    return (
        entry["provider"],
        entry["model"],
        entry["from"][:16].replace("T", " ").removesuffix(" 00:00"),
        *(entry[name] or "-" for name in token_columns),
        tiers or "-",
    )
