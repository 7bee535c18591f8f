"""The periods of budgets in time zones of every kind."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.limits.budget_periods import BudgetPeriod

ODD_ZONES = (
    "Africa/Casablanca",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
)
YEARS_2015_TO_2035 = st.integers(1_420_070_400, 2_051_222_400)


def find_day(zone: str, moment: datetime) -> tuple[datetime, datetime]:
    """Return beginning and end of the day, in UTC."""
    start, end = BudgetPeriod("day", zone).find_bounds(moment.timestamp())
    return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)


def test_a_day_begins_at_the_quarter_of_an_hour_of_its_zone() -> None:
    start, end = find_day("Asia/Kathmandu", datetime(2026, 5, 1, 12, tzinfo=UTC))
    assert (start, end - start) == (datetime(2026, 4, 30, 18, 15, tzinfo=UTC), timedelta(hours=24))


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 29, 23), (10, 25, 25), (6, 1, 24)])
def test_days_are_as_long_as_their_clock_says(month: int, day: int, hours: int) -> None:
    noon = datetime(2026, month, day, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    start, end = find_day("Europe/Berlin", noon)
    assert end - start == timedelta(hours=hours)


def test_an_hour_that_comes_twice_at_midnight_belongs_to_one_day() -> None:
    """Havana's clocks go back from 01:00 to midnight."""
    first, second = (
        datetime(2026, 11, 1, 0, 30, tzinfo=ZoneInfo("America/Havana"), fold=fold)
        for fold in (0, 1)
    )
    late = datetime(2026, 11, 1, 20, tzinfo=ZoneInfo("America/Havana"))
    start, end = find_day("America/Havana", first)
    assert find_day("America/Havana", second) == find_day("America/Havana", late) == (start, end)
    assert end - start == timedelta(hours=25)


@pytest.mark.parametrize(
    ("zone", "noon"),
    [
        ("Asia/Beirut", datetime(2026, 3, 29, 9, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 11, 4, 15, tzinfo=UTC)),
    ],
)
def test_a_day_without_midnight_begins_with_its_first_moment(zone: str, noon: datetime) -> None:
    start, end = find_day(zone, noon)
    assert end - start == timedelta(hours=23)
    assert start.astimezone(ZoneInfo(zone)).hour == 1


@example(zone="America/Havana", now=1_793_509_200 + 1_800, unit="day")
@given(
    zone=st.sampled_from(ODD_ZONES), now=YEARS_2015_TO_2035, unit=st.sampled_from(["day", "month"])
)
def test_periods_follow_each_other_without_gap(zone: str, now: int, unit: str) -> None:
    period = BudgetPeriod(unit, zone)
    start, end = period.find_bounds(now)
    assert start <= now < end
    assert start % 900 == 0
    assert period.find_bounds(start) == (start, end)
    assert period.find_bounds(end - 1) == (start, end)
    assert period.find_bounds(end)[0] == end
