"""`list_limits`: list the limits of API keys, users and teams."""

import json
from argparse import ArgumentParser
from typing import Any

from api.limits.limit_texts import BUDGET_COLUMNS, COUNT_COLUMNS, describe_limits
from api.models import LimitSet
from providers.management.base import GatewayCommand
from providers.management.command_helpers import write_table
from providers.protocol.json_types import JsonObject

TABLE_HEAD = ("OF", "NAME", "LIMITS", "ALSO")
LIST_COLUMNS = ("allowed_models", "allowed_endpoints", "ip_ranges")


class Command(GatewayCommand):
    help = "List the limits of API keys, users and teams."
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = LimitSet.objects.select_related("key", "user", "team").order_by("pk")
        if options["format"] == "json":
            self.stdout.write(json.dumps([make_entry(limits) for limits in rows]))
        elif lines := [make_table_row(limits) for limits in rows]:
            write_table(self.stdout, [TABLE_HEAD, *lines])
        else:
            self.stdout.write("No limits yet: set_limits, issue_key or the admin set them.")


def find_subject(limits: LimitSet) -> tuple[str, str]:
    """Return the kind of a limit set's subject, and its name."""
    if limits.team is not None:
        return "team", str(limits.team)
    if limits.user is not None:
        return "user", str(limits.user)
    return "end users of key" if limits.for_each_end_user else "key", str(limits.key)


def make_entry(limits: LimitSet) -> JsonObject:
    """Return the limits as JSON: amounts as decimal texts, times in ISO's form."""
    kind, name = find_subject(limits)
    budgets = {column: getattr(limits, column) for column in BUDGET_COLUMNS.values()}
    return {
        "of": kind,
        "name": name,
        **{column: getattr(limits, column) for column in COUNT_COLUMNS.values()},
        **{column: format_value(amount) for column, amount in budgets.items()},
        "budget_window": limits.budget_window,
        "time_zone": limits.time_zone,
        "raise_usd": format_value(limits.raise_usd),
        "raise_until": format_value(limits.raise_until),
        **{column: getattr(limits, column) for column in LIST_COLUMNS},
        "expires_at": format_value(limits.expires_at),
        "notifies_owner": limits.notifies_owner,
    }


def format_value(value: object) -> str | None:
    """Return an amount or a time as text; None for none."""
    return None if value is None else str(value)


def make_table_row(limits: LimitSet) -> tuple[str, ...]:
    """Return the cells of a line, as TABLE_HEAD names them."""
    also = [f"{column}={','.join(getattr(limits, column))}" for column in LIST_COLUMNS]
    also = [text for text in also if not text.endswith("=")]
    if limits.raise_usd is not None and limits.raise_until is not None:
        also.append(f"raise={limits.raise_usd.normalize():f} until {limits.raise_until:%Y-%m-%d}")
    if limits.expires_at is not None:
        also.append(f"expires={limits.expires_at:%Y-%m-%d}")
    if limits.notifies_owner:
        also.append("notifies the owner")
    return (*find_subject(limits), describe_limits(vars(limits)) or "-", "; ".join(also) or "-")
