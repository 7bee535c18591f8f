"""`expire_usage`: delete old usage records, as the worker does daily."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from api.usage import record_expiry
from providers.integers import parse_integer
from providers.management.base import GatewayCommand

MOST_DAYS = 36_500


class Command(GatewayCommand):
    help = "Delete usage records that are older than USAGE_DAYS. The sums of usage stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than", default="", metavar="400d", help="days (default: USAGE_DAYS)"
        )
        parser.add_argument("--dry-run", action="store_true", help="count them, delete nothing")

    def handle(self, *args: Any, older_than: str, dry_run: bool, **options: Any) -> None:
        days = read_days(older_than)
        if not days:
            self.stdout.write("Usage records are kept for ever: USAGE_DAYS is 0.")
            return
        if dry_run:
            count = record_expiry.filter_old_records(record_expiry.find_cutoff(days)).count()
            self.stdout.write(f"{count} usage records would be deleted.")
            return
        count = record_expiry.delete_old_records(days)
        self.stdout.write(f"{count} usage records deleted.")


def read_days(text: str) -> int:
    """Return the number of days in a text such as `400d`. Raises CommandError."""
    if not text:
        return int(settings.USAGE_DAYS)
    days = parse_integer(text.removesuffix("d"), 1, MOST_DAYS)
    if days is None:
        raise CommandError(f"{text!r} is not a number of days, for example 400d.")
    return days
