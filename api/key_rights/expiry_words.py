"""The end of an API key in words: “in 30 days”, “end of month”, a date, a time, or “never”."""

import re
from datetime import date, datetime, time, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

NEVER_WORDS = frozenset(("", "never", "none", "-", "永不", "从不", "无"))
UNIT_DAYS = {"day": 1, "d": 1, "天": 1, "日": 1, "week": 7, "w": 7, "周": 7, "星期": 7}
UNIT_MINUTES = {
    "minute": 1, "min": 1, "m": 1, "分钟": 1, "hour": 60, "h": 60, "小时": 60,
}  # fmt: skip
UNIT_MONTHS = {"month": 1, "月": 1, "个月": 1, "year": 12, "y": 12, "年": 12}
NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "six": 6, "一": 1, "三": 3, "六": 6}
LENGTH = re.compile(r"(?:in\s+)?(\d{1,5}|[a-z]+|[一三六])\s*([a-z]+|[\u4e00-\u9fff]+?)(?:之?后)?")
END_OF = re.compile(r"(?:the )?end of (?:the |this )?(day|week|month|year)")
END_WORDS = {"today": "day", "今天": "day", "周末": "week", "本周末": "week", "月底": "month"}
END_WORDS |= {"本月底": "month", "年底": "year", "本年底": "year"}
DAYS_AHEAD = {"tomorrow": 1, "明天": 1}
LAST_YEAR = 9_000


class UnknownMoment(ValueError):
    """The text names no time, or one that cannot be used; the message is for the person."""


def parse_expiry(text: str, now: datetime | None = None) -> datetime | None:
    """Return the time that a text means, in the active time zone; None: never.

    A day without a time means the end of that day. Raises UnknownMoment.
    """
    words = " ".join(text.casefold().split())
    now = timezone.localtime(now)
    if words in NEVER_WORDS:
        return None
    try:
        moment = find_moment(words, now)
    except (OverflowError, ValueError):
        moment = None
    if moment is None or moment.year > LAST_YEAR:
        raise UnknownMoment(
            _("Write for example: in 30 days, end of month, 2031-12-31, 2031-12-31 18:00 or never.")
        )
    if moment <= now:
        raise UnknownMoment(_("This time has passed already."))
    return moment


def find_moment(words: str, now: datetime) -> datetime | None:
    """Return the time that these words mean, or None when they mean none."""
    if match := END_OF.fullmatch(words):
        return find_end(match[1], now.date())
    if words in END_WORDS:
        return find_end(END_WORDS[words], now.date())
    if words in DAYS_AHEAD:
        return end_of_day(now.date() + timedelta(days=DAYS_AHEAD[words]))
    if day := parse_date(words):
        return end_of_day(day)
    if moment := parse_datetime(words):
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    if match := LENGTH.fullmatch(words):
        return add_length(now, match[1], match[2])
    return None


def add_length(now: datetime, number_text: str, unit_text: str) -> datetime | None:
    """Return the time after a length such as `30` `days`, or None when it is none."""
    number = int(number_text) if number_text.isdigit() else NUMBERS.get(number_text, 0)
    unit = unit_text if unit_text in UNIT_MONTHS | UNIT_DAYS else unit_text.removesuffix("s")
    if number == 0:
        return None
    if unit in UNIT_MINUTES:
        return now + timedelta(minutes=number * UNIT_MINUTES[unit])
    if unit in UNIT_DAYS:
        return now + timedelta(days=number * UNIT_DAYS[unit])
    if unit in UNIT_MONTHS:
        return add_months(now, number * UNIT_MONTHS[unit])
    return None


def add_months(now: datetime, count: int) -> datetime:
    """Return the same day some months later, or the last day of a shorter month."""
    years, month_index = divmod(now.month - 1 + count, 12)
    year = now.year + years
    last_day = find_last_day(year, month_index + 1).day
    naive = now.replace(tzinfo=None, year=year, month=month_index + 1, day=min(now.day, last_day))
    return timezone.make_aware(naive)


def find_last_day(year: int, month: int) -> date:
    first_of_next = date(year + month // 12, month % 12 + 1, 1)
    return first_of_next - timedelta(days=1)


def find_end(unit: str, today: date) -> datetime:
    """Return the end of the day, week (Sunday), month or year that `today` is in."""
    days = {
        "day": today,
        "week": today + timedelta(days=6 - today.weekday()),
        "month": find_last_day(today.year, today.month),
        "year": date(today.year, 12, 31),
    }
    return end_of_day(days[unit])


def end_of_day(day: date) -> datetime:
    """Return the last minute of a day, so that a page shows the day that was written."""
    return timezone.make_aware(datetime.combine(day, time(23, 59, 59)))


def render_expiry(moment: datetime | None) -> str:
    """Return a time as a form shows it, so that `parse_expiry` reads it again."""
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"
