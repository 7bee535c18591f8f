"""Limits as a person writes them in a command or a setting, and as they are listed.

`rpm=60,tpm=100000,concurrency=4,budget=5/day|50/month` becomes columns of `LimitSet`. Values that
cannot be are refused with the sentences of the admin (`limit_values`). This is the only parser.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError

from api.limits import limit_values

COUNT_COLUMNS = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "concurrency": "concurrent_requests",
}
BUDGET_COLUMNS = {
    "day": "day_budget_usd",
    "month": "month_budget_usd",
    "total": "total_budget_usd",
}
NOTHING = "none"  # in place of a value: this limit is taken away
ROLLING = "rolling"
CALENDAR = "calendar"
PERIOD_TEXT = (
    "A budget has an amount and a period, day, month or total: write 5/day, or several, as in "
    "5/day|50/month|500/total."
)
END_TEXT = "Write the end of a raise as a day or a time, for example 2026-12-24."
Columns = dict[str, Any]


# --- single values --------------------------------------------------------------------------------
def parse_count(text: str) -> int | None:
    """Return a count; None for `none`. Raises ValidationError."""
    text = text.strip()
    if text == NOTHING:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValidationError(limit_values.COUNT_TEXT)
    count = int(text[:20])
    limit_values.validate_count(count)
    return count


def parse_amount(text: str) -> Decimal:
    """Return an amount in USD. Raises ValidationError."""
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        raise ValidationError(limit_values.BUDGET_TEXT) from None
    limit_values.validate_budget(amount)
    return amount


def parse_budgets(text: str) -> Columns:
    """Return the columns of `5/day|50/month|500/total`. Raises ValidationError.

    `none` takes all budgets away. Budgets that are not named stay as they are.
    """
    if text.strip() == NOTHING:
        return dict.fromkeys(BUDGET_COLUMNS.values())
    columns: Columns = {}
    for part in text.split("|"):
        amount, _, period = part.partition("/")
        column = BUDGET_COLUMNS.get(period.strip())
        if column is None or column in columns or not amount.strip():
            raise ValidationError(PERIOD_TEXT)
        columns[column] = None if amount.strip() == NOTHING else parse_amount(amount)
    return columns


def parse_window(text: str) -> Columns:
    """Return the column of the window of budgets: calendar or rolling. Raises ValidationError."""
    if text.strip() not in (CALENDAR, ROLLING):
        raise ValidationError("Days and months of a budget are calendar or rolling.")
    return {"budget_window": text.strip()}


def parse_time_zone(text: str) -> Columns:
    """Return the column of the time zone. Raises ValidationError."""
    limit_values.validate_time_zone(text.strip())
    return {"time_zone": text.strip()}


def parse_raise(amount_text: str, end_text: str, time_zone: str) -> Columns:
    """Return the columns of a raise of the budgets. Raises ValidationError.

    An end without a time is the end of that day in the time zone of the limits.
    """
    try:
        day = date.fromisoformat(end_text.strip())
        end = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(time_zone))
    except (ValueError, OverflowError):
        end = parse_time(end_text, time_zone)
    if end <= datetime.now(UTC):
        raise ValidationError("The end of the raise has passed.")
    return {"raise_usd": parse_amount(amount_text), "raise_until": end}


def parse_time(text: str, time_zone: str) -> datetime:
    """Return a time in ISO's form; without an offset it is one of the time zone."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValidationError(END_TEXT) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(time_zone))


def parse_list(text: str) -> list[str]:
    """Return the entries of a list that is separated by commas; `none` is an empty list."""
    if text.strip() == NOTHING:
        return []
    return [entry for entry in map(str.strip, text.split(",")) if entry]


def parse_ip_ranges(text: str) -> Columns:
    """Return the column of IP ranges, comma separated. Raises ValidationError."""
    ranges = parse_list(text)
    limit_values.validate_ip_ranges(ranges)
    return {"ip_ranges": ranges}


def parse_endpoints(text: str) -> Columns:
    """Return the column of endpoints, comma separated. Raises ValidationError."""
    endpoints = parse_list(text)
    limit_values.validate_endpoints(endpoints)
    return {"allowed_endpoints": endpoints}


# --- all limits in one line -----------------------------------------------------------------------
def make_count_parser(column: str) -> Callable[[str], Columns]:
    """Return a parser of the count in this column."""
    return lambda text: {column: parse_count(text)}


PARSERS: dict[str, Callable[[str], Columns]] = {
    **{name: make_count_parser(column) for name, column in COUNT_COLUMNS.items()},
    "budget": parse_budgets,
    "window": parse_window,
    "zone": parse_time_zone,
}


def parse_limits(text: str) -> Columns:
    """Return the columns of a line such as `rpm=60,tpm=100000,concurrency=4,budget=5/day`.

    Also `window=rolling` and `zone=Europe/Berlin`. An empty text has no columns. Raises
    ValidationError with one sentence, which names the limit.
    """
    columns: Columns = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, value = part.partition("=")
        parse = PARSERS.get(name.strip())
        if parse is None:
            raise ValidationError(
                f"There is no limit {name.strip()!r}; write {', '.join(PARSERS)}, each with = and "
                "its value."
            )
        columns |= name_problem(name.strip(), parse, value)
    return columns


def name_problem(name: str, parse: Callable[[str], Columns], value: str) -> Columns:
    """Return the columns of one value; a ValidationError gets the limit's name before it."""
    try:
        return parse(value)
    except ValidationError as error:
        raise ValidationError(f"{name}: {' '.join(error.messages)}") from None


# --- limits in words ------------------------------------------------------------------------------
def describe_limits(columns: Columns) -> str:
    """Return limits as `parse_limits` takes them, and then those that only options can set.

    Columns that limit nothing are left out.
    """
    parts = [
        f"{name}={columns[column]}"
        for name, column in COUNT_COLUMNS.items()
        if columns.get(column) is not None
    ]
    budgets = [
        f"{format_amount(columns[column])}/{period}"
        for period, column in BUDGET_COLUMNS.items()
        if columns.get(column) is not None
    ]
    if budgets:
        parts.append(f"budget={'|'.join(budgets)}")
        parts += describe_budget_periods(columns)
    return ",".join(parts)


def describe_budget_periods(columns: Columns) -> list[str]:
    """Return the parts about windows and time zone that differ from the defaults."""
    parts = []
    if columns.get("budget_window") == ROLLING:
        parts.append(f"window={ROLLING}")
    if columns.get("time_zone", "UTC") != "UTC":
        parts.append(f"zone={columns['time_zone']}")
    return parts


def format_amount(amount: Decimal) -> str:
    """Return an amount without trailing zeros: `5`, `0.5`."""
    return f"{amount.normalize():f}"
