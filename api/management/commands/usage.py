"""`usage`: show what was used and what it cost, from the roll-ups."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from api.models import ApiKey
from api.usage import usage_parameters, usage_report
from api.usage.usage_parameters import ParameterError
from api.usage.usage_query import GROUPS, UsageQuery, read_usage
from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_user


class Command(GatewayCommand):
    help = "Show requests, tokens and cost of a span of time, grouped; times are in UTC."
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--by",
            default="day",
            metavar="GROUPS",
            help=f"one or several, comma separated: {', '.join(GROUPS)} (default: day)",
        )
        parser.add_argument(
            "--from",
            dest="begin",
            default="",
            metavar="TIME",
            help="a date or a time, for example 2026-01-31 (default: 29 days before today)",
        )
        parser.add_argument(
            "--to", dest="end", default="", metavar="TIME", help="a date with that day, or a time"
        )
        parser.add_argument("--key", default="", metavar="PREFIX", help="of this API key only")
        parser.add_argument("--user", default="", metavar="NAME", help="of this user only")
        parser.add_argument(
            "--limit", type=int, default=0, metavar="N", help="at most so many groups"
        )
        parser.add_argument("--format", choices=["text", "csv", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        query = read_query(options)
        report = usage_report.build_report(query, read_usage(query))
        if options["format"] == "json":
            self.stdout.write(json.dumps(report))
        elif options["format"] == "csv":
            self.stdout.write(usage_report.render_csv(report), ending="")
        else:
            self.stdout.write(usage_report.render_table(report))
            if report["has_more"]:
                self.stdout.write(f"These are the first {query.limit}; --limit shows more.")


def read_query(options: dict[str, Any]) -> UsageQuery:
    """Return the query that the options ask for. Raises CommandError."""
    try:
        group_by = usage_parameters.parse_group_by(options["by"], "--by")
        span = usage_parameters.parse_span(options["begin"], options["end"], datetime.now(UTC))
    except ParameterError as error:
        raise CommandError(str(error)) from None
    limit = options["limit"] or settings.USAGE_GROUPS
    if limit < 1:
        raise CommandError("--limit is at least 1.")
    user_id = find_user(options["user"]).pk if options["user"] else None
    key_id = find_key(options["key"]).pk if options["key"] else None
    return UsageQuery(group_by, *span, limit, key_id=key_id, user_id=user_id)


def find_key(prefix: str) -> ApiKey:
    """Return the API key with this prefix. Raises CommandError."""
    key = ApiKey.objects.filter(prefix=prefix.removesuffix("…")).first()
    if key is None:
        raise CommandError(f"There is no API key {prefix!r}.")
    return key
