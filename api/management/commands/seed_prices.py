"""`seed_prices`: write the list prices of well-known models, after a look at what they change."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from api.management.moments import render_moment
from api.models import Price
from api.pricing.price_texts import render_usd
from api.pricing.price_values import ABOVE, TOKEN_COLUMNS
from api.pricing.well_known_prices import CHANGED, PlannedPrice, list_differences, plan_prices
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_validation_error, find_provider
from providers.models import Provider
from providers.protocol.json_types import JsonObject


class Command(GatewayCommand):
    help = (
        "Show which list prices of well-known models are new or changed for the providers that "
        "there are, and write them with --apply."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write what is new or changed")
        parser.add_argument(
            "--provider",
            action="append",
            default=[],
            metavar="NAME",
            help="only this one's; repeat it",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: object, apply: bool, provider: list[str], **options: Any) -> None:
        providers = [find_provider(name) for name in provider] or list(
            Provider.objects.order_by("name")
        )
        try:
            with transaction.atomic():
                plans = plan_prices(providers)
                if apply:
                    create_prices(plans)
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        if options["format"] == "json":
            self.stdout.write(json.dumps([make_entry(plan) for plan in plans]))
            return
        for plan in plans:
            if plan.outcome != "same":
                self.stdout.write(describe_plan(plan))
        self.stdout.write(summarize(plans, applied=apply))


def create_prices(plans: list[PlannedPrice]) -> None:
    """Write the prices that are new or changed. Raises ValidationError."""
    for plan in plans:
        if plan.is_to_write:
            plan.price.full_clean()
            plan.price.save()


def describe_plan(plan: PlannedPrice) -> str:
    """Return the line about one price, with what it changes."""
    price = plan.price
    if plan.outcome == CHANGED and plan.before is not None:
        details = "; ".join(list_differences(plan.before, price))
    else:
        details = describe_amounts(price)
    name = f"{price.provider.name} {price.upstream_model}"
    line = f"{plan.outcome:<8} {name:<40} from {render_moment(price.valid_from)}: {details}"
    if plan.outcome == "kept" and plan.before is not None:
        return f"{line} (yours from {render_moment(plan.before.valid_from)} stays)"
    return f"{line} [{price.source}]"


def describe_amounts(price: Price) -> str:
    """Return the prices for a million tokens that a row has, in words."""
    amounts = [
        f"{name.removesuffix('_usd')} {render_usd(usd)}"
        for name in TOKEN_COLUMNS
        if (usd := getattr(price, name)) is not None
    ]
    tiers = [f"others above {tier[ABOVE]} prompt tokens" for tier in price.tiers]
    return ", ".join((*amounts, *tiers))


def summarize(plans: list[PlannedPrice], *, applied: bool) -> str:
    """Return the last line: how many prices have which outcome, and how they are written."""
    if not plans:
        return "No list prices are known for these providers; set_price writes yours."
    outcomes = [plan.outcome for plan in plans]
    counts = ", ".join(
        f"{outcomes.count(name)} {name}" for name in ("new", "changed", "same", "kept")
    )
    if applied:
        return f"Written: {counts}."
    return f"{counts}. Nothing is written without --apply."


def make_entry(plan: PlannedPrice) -> JsonObject:
    """Return the facts of a planned price; amounts are texts in USD, exact."""
    price = plan.price
    amounts = {
        name: None if (usd := getattr(price, name)) is None else render_usd(usd)
        for name in TOKEN_COLUMNS
    }
    differences = list_differences(plan.before, price) if plan.before is not None else []
    return {
        "provider": price.provider.name,
        "model": price.upstream_model,
        "from": price.valid_from.isoformat(),
        "outcome": plan.outcome,
        "differences": differences,
        **amounts,
        "tiers": price.tiers,
        "source": price.source,
    }
