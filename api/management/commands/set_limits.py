"""`set_limits`: set, change or take away the limits of an API key, a user or a team."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from api import keys
from api.key_rights import limit_rows
from api.key_rights.limit_rows import Subject
from api.limits import limit_texts
from api.limits.limit_texts import Columns
from api.management.find_rows import find_key, find_team
from api.management.limit_options import (
    add_limit_arguments,
    describe_subject,
    read_limit_columns,
)
from api.models import LimitSet
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_validation_error, find_user


class Command(GatewayCommand):
    help = (
        "Set the limits of an API key, a user or a team; limits that are not named stay. Every "
        "process keeps to them within a second."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        subject = parser.add_mutually_exclusive_group(required=True)
        subject.add_argument("--key", metavar="PREFIX", help="how the key begins")
        subject.add_argument("--user", metavar="NAME", help="a user: for all keys of the user")
        subject.add_argument("--team", metavar="NAME", help="a team: for all its members together")
        parser.add_argument(
            "--each-end-user",
            action="store_true",
            help="with --key: the limits of each end user that requests name",
        )
        add_limit_arguments(parser)
        parser.add_argument(
            "--models",
            metavar="gpt-5*,echo",
            help="models that may be used, comma separated, with * for any characters",
        )
        parser.add_argument("--raise-budget", metavar="2", help="each budget is higher by so much")
        parser.add_argument(
            "--until",
            metavar="2026-12-24",
            help="last day of the raise, or a time such as 2026-12-24T18:00",
        )
        parser.add_argument("--clear", action="store_true", help="first take all limits away")
        parser.add_argument("--dry-run", action="store_true", help="check, change nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        subject = find_subject(options)
        columns = read_limit_columns(options) | read_models(options["models"])
        wants_change = bool(columns) or options["raise_budget"] or options["until"]
        if not wants_change and not options["clear"]:
            raise CommandError("Name a limit, for example --rpm 60, or --clear.")
        with transaction.atomic():
            if options["clear"]:
                limit_rows.delete_limits(subject)
            limits = write_limits(subject, columns, options) if wants_change else None
            transaction.set_rollback(dry_run)
        text = limit_texts.describe_limits(vars(limits)) if limits is not None else ""
        would = "would be" if dry_run else "are"
        name = describe_subject(subject)
        self.stdout.write(f"The limits of {name} {would}: {text or 'none in numbers'}.")


def find_subject(options: dict[str, Any]) -> Subject:
    """Return the subject that the options name. Raises CommandError."""
    if options["each_end_user"] and not options["key"]:
        raise CommandError("--each-end-user goes with --key.")
    if options["user"] is not None:
        return {"user": find_user(options["user"])}
    if options["team"] is not None:
        return {"team": find_team(options["team"])}
    return {"key": find_key(options["key"]), "for_each_end_user": options["each_end_user"]}


def write_limits(subject: Subject, columns: Columns, options: dict[str, Any]) -> LimitSet:
    """Write these limits and the raise of the options. Raises CommandError."""
    try:
        columns = columns | read_raise(subject, columns, options)
        return limit_rows.update_limits(subject, columns)
    except ValidationError as error:
        raise CommandError(describe_validation_error(error)) from None


def read_raise(subject: Subject, columns: Columns, options: dict[str, Any]) -> Columns:
    """Return the columns of the raise that the options name. Raises ValidationError, CommandError.

    A day is one of the time zone of the limits.
    """
    amount, end = options["raise_budget"], options["until"]
    if amount == limit_texts.NOTHING and not end:
        return {"raise_usd": None, "raise_until": None}
    if not amount and not end:
        return {}
    if not amount or not end:
        raise CommandError("--raise-budget needs --until, and --until needs --raise-budget.")
    zones = LimitSet.objects.filter(**subject).values_list("time_zone", flat=True)
    return limit_texts.parse_raise(amount, end, columns.get("time_zone") or zones.first() or "UTC")


def read_models(text: str | None) -> Columns:
    """Return the column of models of a comma-separated list. Raises CommandError."""
    if text is None:
        return {}
    names = limit_texts.parse_list(text)
    if unknown := keys.find_unknown_models(names):
        raise CommandError(
            f"No such model: {', '.join(unknown)}. `list_models` shows what there is."
        )
    return {"allowed_models": names}
