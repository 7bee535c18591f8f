"""The spans of time that the overview can show, and the points of their charts.

Points begin at whole hours or days of the viewer's time zone. All zones differ from UTC by whole
quarters of an hour, so the sums of each point are exact; in a zone that differs by 30 or 45 minutes
percentiles are those of the whole hours in UTC that begin in it. A day on which clocks change is as
long as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from api.usage.spans.span_sums import Span

SLOT = timedelta(minutes=5)
WHOLE_HOUR = timedelta(hours=1)
WHOLE_DAY = timedelta(days=1)
DEFAULT_RANGE = "24h"


@dataclass(frozen=True, slots=True)
class RangeChoice:
    """One length that a person can choose."""

    name: str
    label: str | Promise
    before_label: str | Promise


CHOICES = (
    RangeChoice("1h", _("1 hour"), _("the hour before")),
    RangeChoice("24h", _("24 hours"), _("the 24 hours before")),
    RangeChoice("7d", _("7 days"), _("the 7 days before")),
    RangeChoice("30d", _("30 days"), _("the 30 days before")),
)
CHOICES_BY_NAME = {choice.name: choice for choice in CHOICES}
DAYS_OF_RANGES = {"7d": 7, "30d": 30}
POINT_HOURS = {"7d": 6, "30d": 24}  # between the points of a chart


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time with the points of its charts, and the span before it.

    `end` is the end of the present five minutes. Labels are texts in the viewer's zone.
    """

    choice: RangeChoice
    points: list[Span]
    labels: list[str]
    before: Span

    @property
    def begin(self) -> datetime:
        return self.points[0][0]

    @property
    def end(self) -> datetime:
        return self.points[-1][1]


def build_period(name: str, now: datetime) -> Period:
    """Return the period of a range until now; an unknown name is taken for the default."""
    choice = CHOICES_BY_NAME.get(name, CHOICES_BY_NAME[DEFAULT_RANGE])
    local = timezone.localtime(now)
    end = ceil_to_slot(now)
    if choice.name in DAYS_OF_RANGES:
        days = DAYS_OF_RANGES[choice.name]
        bounds = [moment for moment in list_day_bounds(local, days, choice.name) if moment < end]
        before = shift_days(local, bounds[0], -days), shift_days(local, end, -days)
        label_format = "%m-%d" if choice.name == "30d" else "%m-%d %H:%M"
    else:
        length, step = (WHOLE_HOUR, SLOT) if choice.name == "1h" else (WHOLE_DAY, WHOLE_HOUR)
        first = end - length if choice.name == "1h" else ceil_to_hour(local) - length
        bounds = list(list_bounds(first, end, step))
        before = bounds[0] - length, end - length
        label_format = "%H:%M"
    points = list(zip(bounds, [*bounds[1:], end], strict=True))
    labels = [timezone.localtime(begin).strftime(label_format) for begin, _end in points]
    return Period(choice, points, labels, before)


def list_bounds(first: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    """Yield the moments from `first` until before `end`, one step apart."""
    while first < end:
        yield first
        first += step


def list_day_bounds(local: datetime, days: int, name: str) -> Iterator[datetime]:
    """Yield the beginnings of the points of the last days, with that of today, as UTC."""
    hours = POINT_HOURS[name]
    for days_ago in range(days - 1, -1, -1):
        day = local.date() - timedelta(days=days_ago)
        for hour in range(0, 24, hours):
            yield datetime.combine(day, time(hour), tzinfo=local.tzinfo).astimezone(UTC)


def shift_days(local: datetime, moment: datetime, days: int) -> datetime:
    """Return the moment so many days later, at the same time of the clock in the viewer's zone."""
    shifted = timezone.localtime(moment, local.tzinfo) + timedelta(days=days)
    return shifted.astimezone(UTC)


def ceil_to_slot(moment: datetime) -> datetime:
    """Return the end of the five minutes in which a moment lies, as UTC."""
    moment = moment.astimezone(UTC)
    minute = moment.minute // 5 * 5
    return moment.replace(minute=minute, second=0, microsecond=0) + SLOT


def ceil_to_hour(local: datetime) -> datetime:
    """Return the end of the hour of the clock in which a local moment lies, as UTC."""
    begin = local.astimezone(UTC) - timedelta(
        minutes=local.minute, seconds=local.second, microseconds=local.microsecond
    )
    return begin + WHOLE_HOUR
