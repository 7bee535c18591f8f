"""Times in what commands read and print."""

from datetime import UTC, date, datetime, time

from django.core.management.base import CommandError

FIRST_YEAR = 2000


def parse_moment(text: str) -> datetime:
    """Return the time that a text such as `2026-12-01` or `2026-12-01T08:30` means.

    It is in UTC unless the text has an offset. A day means its beginning. Raises CommandError.
    """
    try:
        moment = datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise CommandError(
                f"{text!r} is no time: write for example 2026-12-01 or 2026-12-01T08:30."
            ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment.year < FIRST_YEAR:
        raise CommandError(f"{text!r} is before the year {FIRST_YEAR}.")
    return moment


def render_moment(moment: datetime) -> str:
    """Return a time in UTC to the minute: `2026-12-01 08:30`; of midnight only the day."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%d}" if utc.time() == time() else f"{utc:%Y-%m-%d %H:%M}"
