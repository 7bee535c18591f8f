"""The periods of budgets: calendar days and months in a time zone, rolling ones, and all time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_SECONDS = 86_400
ROLLING_SECONDS = {"day": DAY_SECONDS, "month": 30 * DAY_SECONDS}


@dataclass(frozen=True, slots=True)
class BudgetPeriod:
    """A period: `unit` is day, month or total. A rolling month has 30 days."""

    unit: str
    time_zone: str = "UTC"
    is_rolling: bool = False

    @property
    def rolling_seconds(self) -> int:
        """Return the length of a rolling period; 0 for one that is none."""
        return ROLLING_SECONDS.get(self.unit, 0) if self.is_rolling else 0

    def find_bounds(self, now: float) -> tuple[float, float]:
        """Return beginning and end, as UNIX times, of the period that a UNIX time is in.

        A rolling period and all time begin at 0: they are one period without an end.
        """
        if self.unit == "total" or self.is_rolling:
            return 0.0, float("inf")
        return find_calendar_bounds(self.unit, self.time_zone, int(now // 900))


@lru_cache(maxsize=4_096)
def find_calendar_bounds(unit: str, time_zone: str, quarter_hour: int) -> tuple[float, float]:
    """Return the bounds of the calendar day or month that a quarter of an hour is in.

    Days begin at a quarter of an hour in UTC in every time zone that is in use.
    """
    zone = ZoneInfo(time_zone)
    local = datetime.fromtimestamp(quarter_hour * 900, UTC).astimezone(zone)
    # `fold`: where midnight comes twice, the day begins with the first
    start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "month":
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    else:
        end = start + timedelta(days=1)
    return start.timestamp(), end.timestamp()
