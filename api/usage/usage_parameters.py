"""Read what a person asks for: groups and a span of time, in an address or on a command line."""

import re
from datetime import UTC, datetime, timedelta

from api.usage.usage_query import GROUPS

DEFAULT_DAYS = 30  # with today
ALIASES = {"group": "team"}
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
ONE_DAY = timedelta(days=1)
FIRST_MOMENT = datetime(1971, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC)


class ParameterError(ValueError):
    """A parameter cannot be understood: its name, and a sentence about it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def parse_group_by(text: str, name: str = "group_by") -> tuple[str, ...]:
    """Return the groups of a list such as `day,model`. Raises ParameterError."""
    groups = [ALIASES.get(group.strip(), group.strip()) for group in text.split(",")]
    for group in groups:
        if group not in GROUPS:
            raise ParameterError(
                name, f"{name} is one or several of: {', '.join(GROUPS)}; separated by commas."
            )
    return tuple(dict.fromkeys(groups))


def parse_span(begin_text: str, end_text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the whole hours in UTC from which on and before which requests began.

    A date as the end means the end of that day. Times within an hour mean the whole hour. Without
    texts it is the last DEFAULT_DAYS days with today. Raises ParameterError.
    """
    tomorrow = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + ONE_DAY
    end = tomorrow
    if end_text:
        end = parse_moment(end_text, "to")
        if DATE.fullmatch(end_text):
            end += ONE_DAY
        end = ceil_to_hour(end)
    begin = min(end, tomorrow) - timedelta(days=DEFAULT_DAYS)
    if begin_text:
        begin = floor_to_hour(parse_moment(begin_text, "from"))
    if begin >= end:
        raise ParameterError("from", "from is before to.")
    return begin, end


def parse_moment(text: str, name: str) -> datetime:
    """Return the time of an ISO date or time; without an offset it is in UTC.

    Raises ParameterError.
    """
    example = f"{name} is a date or a time, for example 2026-01-31 or 2026-01-31T12:00:00Z."
    if "T" in text:
        text = text.replace(" ", "+")  # an address has the + of an offset as a space
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParameterError(name, example) from None
    if not FIRST_MOMENT <= moment < LAST_MOMENT:
        raise ParameterError(name, f"{name} is after 1970 and before 9999.")
    return moment


def floor_to_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def ceil_to_hour(moment: datetime) -> datetime:
    begin = floor_to_hour(moment)
    return begin if begin == moment else begin + timedelta(hours=1)
