"""Sums of a user's requests by the days of a time zone, from the roll-ups by the hour.

A roll-up begins on a whole hour in UTC. In a zone whose days begin at 30 or 45 minutes past one,
the hour in which a day begins counts to the day before.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from django.utils import timezone

from api.usage.usage_parameters import ceil_to_hour, floor_to_hour
from api.usage.usage_query import HOUR, UsageQuery, read_usage
from api.usage.usage_report import build_group_cells, load_column_names
from providers.protocol.json_types import JsonObject

RANGES = {"7d": 7, "30d": 30, "90d": 90}  # days with today
DEFAULT_RANGE = "30d"
MOST_HOURS = 100 * 25
MOST_GROUPS = 100
SHOWN = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "cost_micro_usd",
    "unknown_cost_requests",
)


@dataclass(frozen=True, slots=True)
class UsageSpan:
    """The days from `first_day` to today, in the zone of the viewer."""

    name: str
    first_day: date
    last_day: date
    zone: tzinfo

    @property
    def begin(self) -> datetime:
        return floor_to_hour(to_utc_midnight(self.first_day, self.zone))

    @property
    def end(self) -> datetime:
        return ceil_to_hour(to_utc_midnight(self.last_day + timedelta(days=1), self.zone))

    def list_days(self) -> list[date]:
        count = (self.last_day - self.first_day).days + 1
        return [self.first_day + timedelta(days=number) for number in range(count)]


def to_utc_midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def make_span(name: str) -> UsageSpan:
    """Return the span of this name, or the default one, in the current time zone."""
    name = name if name in RANGES else DEFAULT_RANGE
    zone = timezone.get_current_timezone()
    today = datetime.now(zone).date()
    return UsageSpan(name, today - timedelta(days=RANGES[name] - 1), today, zone)


def read_days(user_id: int, span: UsageSpan) -> tuple[dict[date, dict[str, int]], dict[str, int]]:
    """Return the sums of each day of the span, days without requests too, and of all days."""
    query = UsageQuery((HOUR,), span.begin, span.end, MOST_HOURS, user_id=user_id)
    usage = read_usage(query)
    days = {day: dict.fromkeys(SHOWN, 0) for day in span.list_days()}
    for group in usage.groups:
        day = group.values[0].astimezone(span.zone).date()
        sums = days.get(day) or days[span.first_day if day < span.first_day else span.last_day]
        for name in SHOWN:
            sums[name] += group.sums[name]
    return days, usage.totals


def read_groups(user_id: int, span: UsageSpan, group: str) -> list[JsonObject]:
    """Return the sums by model or key, the dearest first, with names beside ids."""
    query = UsageQuery((group,), span.begin, span.end, MOST_GROUPS, user_id=user_id)
    groups = read_usage(query).groups
    names = [load_column_names(group, groups, 0)]
    return [build_group_cells((group,), row.values, names) | row.sums for row in groups]
