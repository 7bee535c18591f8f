"""`recost`: compute the costs of recorded requests anew, and write those that change."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from api.management.moments import parse_moment
from api.pricing.price_texts import render_micro_usd
from api.pricing.recost import RecostRange, RecostReport, update_costs
from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider


class Command(GatewayCommand):
    help = (
        "Compute the costs of recorded requests anew with the prices that there are now, and "
        "write those that change."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from",
            dest="start",
            required=True,
            metavar="TIME",
            help="requests that began from then on, for example 2026-12-01, in UTC",
        )
        parser.add_argument(
            "--to", dest="end", default="", metavar="TIME", help="and before then (default: now)"
        )
        parser.add_argument("--provider", default="", help="only those that this one answered")
        parser.add_argument(
            "--model", default="", help="only those of this model, by its public or upstream name"
        )
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")

    def handle(self, *args: object, start: str, end: str, **options: Any) -> None:
        wanted = RecostRange(
            start=parse_moment(start),
            end=parse_moment(end) if end else timezone.now(),
            provider_id=find_provider(options["provider"]).pk if options["provider"] else None,
            model=options["model"],
        )
        if wanted.start >= wanted.end:
            raise CommandError("--from must be before --to.")
        report = update_costs(wanted, dry_run=options["dry_run"])
        self.stdout.write(describe_report(report, dry_run=options["dry_run"]))
        if report.untold_records:
            self.stdout.write(
                f"{report.untold_records} keep their cost: their records do not say which call "
                "took which tokens."
            )


def describe_report(report: RecostReport, *, dry_run: bool) -> str:
    """Return the numbers of a run in words."""
    verb = "would change" if dry_run else "changed"
    sign = "+" if report.difference_micro_usd >= 0 else ""
    difference = f"{sign}{render_micro_usd(report.difference_micro_usd)}"
    return (
        f"{report.changed_records} of {report.read_records} records {verb}; "
        f"difference {difference}."
    )
