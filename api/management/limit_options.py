"""The options of commands that set limits."""

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from api.key_rights.limit_rows import Subject
from api.limits import limit_texts
from api.limits.limit_texts import CALENDAR, ROLLING, Columns

OPTION_PARSERS: dict[str, Callable[[str], Columns]] = {
    **{name: limit_texts.PARSERS[name] for name in limit_texts.COUNT_COLUMNS},
    "budget": limit_texts.parse_budgets,
    "time_zone": limit_texts.parse_time_zone,
    "ip": limit_texts.parse_ip_ranges,
    "endpoints": limit_texts.parse_endpoints,
}


def add_limit_arguments(parser: ArgumentParser) -> None:
    """Add the options that set limits; each takes `none`, which takes the limit away."""
    parser.add_argument("--rpm", metavar="60", help="requests in any 60 seconds")
    parser.add_argument(
        "--tpm", metavar="100000", help="prompt and completion tokens in any 60 seconds"
    )
    parser.add_argument("--concurrency", metavar="4", help="requests that run at the same time")
    parser.add_argument(
        "--budget",
        metavar="5/day|50/month",
        help="USD in a day, a month or in total, in quotes; several with |",
    )
    window = parser.add_mutually_exclusive_group()
    window.add_argument(
        "--rolling",
        action="store_const",
        dest="window",
        const=ROLLING,
        help="days and months of budgets are the last 24 hours and the last 30 days",
    )
    window.add_argument(
        "--calendar",
        action="store_const",
        dest="window",
        const=CALENDAR,
        help="days begin at midnight, months on the first (default)",
    )
    parser.add_argument(
        "--time-zone",
        metavar="Europe/Berlin",
        help="in which days and months begin (default: UTC)",
    )
    parser.add_argument(
        "--ip", metavar="CIDR,…", help="addresses and networks that requests may come from"
    )
    parser.add_argument("--endpoints", metavar="/v1/chat/*,…", help="endpoints that may be used")
    parser.add_argument(
        "--notify-owner",
        action=BooleanOptionalAction,
        help="alerts about these limits also go to the user by e-mail",
    )


def read_limit_columns(options: dict[str, Any]) -> Columns:
    """Return the columns of the limits that the options set; none when there are none.

    Raises CommandError with one sentence, which names the option.
    """
    columns: Columns = {}
    for name, parse in OPTION_PARSERS.items():
        if options[name] is not None:
            columns |= read_option(name, parse, options[name])
    if options["window"] is not None:
        columns["budget_window"] = options["window"]
    if options["notify_owner"] is not None:
        columns["notifies_owner"] = options["notify_owner"]
    return columns


def read_option(name: str, parse: Callable[[str], Columns], text: str) -> Columns:
    """Return the columns of one option. Raises CommandError."""
    try:
        return parse(text)
    except ValidationError as error:
        option = f"--{name.replace('_', '-')}"
        raise CommandError(f"{option}: {' '.join(error.messages)}") from None


def describe_subject(subject: Subject) -> str:
    """Return a limit set's subject in words: `the user alice`."""
    for name in ("team", "user"):
        if name in subject:
            return f"the {name} {subject[name]}"
    text = f"the key {subject['key']}"
    return f"each end user of {text}" if subject["for_each_end_user"] else text
