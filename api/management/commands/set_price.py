"""`set_price`: give an upstream model a price from a time on."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from api.management.moments import parse_moment, render_moment
from api.models import Price
from api.pricing.price_values import ABOVE, USD_COLUMNS
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_validation_error, find_provider
from providers.protocol.json_types import JsonObject

HELP_BY_COLUMN = {
    "prompt_usd": "USD per million prompt tokens",
    "cached_usd": "… that were read from the cache (default: as prompt tokens)",
    "cache_write_usd": "… that were written to the cache (default: as prompt tokens)",
    "completion_usd": "USD per million completion tokens",
    "reasoning_usd": "… that were reasoning (default: as completion tokens)",
    "request_usd": "USD per request, beside its tokens",
    "image_usd": "USD per image",
    "audio_second_usd": "USD per second of audio",
    "characters_usd": "USD per million characters that are read aloud",
    "search_usd": "USD per search unit of a rerank request (up to 100 documents)",
}


class Command(GatewayCommand):
    help = (
        "Give an upstream model a price from a time on; earlier prices stay. Prices that are not "
        "given are unknown; 0 means that it costs nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", help="name of the provider")
        parser.add_argument("model", help="the model as the provider calls it")
        for column in USD_COLUMNS:
            parser.add_argument(
                make_option(column), dest=column, metavar="USD", help=HELP_BY_COLUMN[column]
            )
        parser.add_argument(
            "--tier",
            action="append",
            default=[],
            metavar="TOKENS:NAME=USD,…",
            help="other prices for calls with more prompt tokens, for example "
            '"200000:prompt=2.5,completion=15"; repeat it',
        )
        parser.add_argument(
            "--from",
            dest="valid_from",
            default="",
            metavar="TIME",
            help="for example 2026-12-01 or 2026-12-01T08:30, in UTC (default: now)",
        )
        parser.add_argument(
            "--batch-factor",
            default="1",
            metavar="PART",
            help="lines of a batch cost so much of the price, for example 0.5 (default: 1)",
        )
        parser.add_argument("--source", default="", help="where the price comes from")
        parser.add_argument("--dry-run", action="store_true", help="check, change nothing")

    def handle(self, *args: object, provider: str, model: str, **options: Any) -> None:
        now = timezone.now()
        price = Price(
            provider=find_provider(provider),
            upstream_model=model,
            valid_from=parse_moment(options["valid_from"]) if options["valid_from"] else now,
            tiers=[parse_tier(text) for text in options["tier"]],
            batch_factor=options["batch_factor"],
            source=options["source"],
            **{column: options[column] for column in USD_COLUMNS},
        )
        try:
            with transaction.atomic():
                price.full_clean()
                price.save()
                transaction.set_rollback(options["dry_run"])
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        verb = "would have" if options["dry_run"] else "has"
        self.stdout.write(
            f"{price.upstream_model} of {provider} {verb} this price from "
            f"{render_moment(price.valid_from)} UTC on."
        )
        if price.valid_from < now:
            self.stdout.write(
                "Requests since then keep their cost until: recost --from "
                f"{price.valid_from:%Y-%m-%d} --provider {provider}"
            )


def make_option(column: str) -> str:
    """Return the option for a column: `--cache-write` for `cache_write_usd`."""
    return "--" + column.removesuffix("_usd").replace("_", "-")


def parse_tier(text: str) -> JsonObject:
    """Return the tier that a text such as `200000:prompt=2.5` means. Raises CommandError."""
    threshold, _, prices = text.partition(":")
    if not threshold.isdecimal() or not prices:
        raise CommandError(f'{text!r} is no tier: write for example "200000:prompt=2.5".')
    tier: JsonObject = {ABOVE: int(threshold)}
    for part in prices.split(","):
        name, _, usd = part.partition("=")
        tier[f"{name.strip().replace('-', '_')}_usd"] = usd.strip()
    return tier
