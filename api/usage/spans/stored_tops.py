"""Add up the busiest subjects of long spans beforehand, where it takes long."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from api.models.busiest_subjects import BusiestSubjects
from api.usage.spans.top_subjects import TopSubject, make_subjects, read_top_sums

STORED_DAYS = (7, 30)
MOST_SUBJECTS = 20  # of each group; a page shows fewer
QUICK_MILLISECONDS = 100  # sums that take less are added up when somebody looks
OLDEST = timedelta(hours=3)  # of stored sums that are shown; they are written each hour


@dataclass(frozen=True, slots=True)
class StoredTops:
    """The busiest subjects by group, as they were at `end`."""

    end: datetime
    subjects: dict[str, list[TopSubject]]


def update_stored_tops() -> int:
    """Add up the busiest subjects of the last days, and write them; return how long it took, ms."""
    whole_ms = 0
    for days in STORED_DAYS:
        end = timezone.now()
        begin = end - timedelta(days=days)
        started = time.perf_counter()
        sums = read_top_sums(begin, end, MOST_SUBJECTS)
        taken_ms = int((time.perf_counter() - started) * 1000)
        BusiestSubjects.objects.update_or_create(
            days=days,
            defaults={"begin": begin, "end": end, "milliseconds": taken_ms, "sums": sums},
        )
        whole_ms += taken_ms
    return whole_ms


def read_stored_tops(days: int) -> StoredTops | None:
    """Return the stored sums of the last days; None where a page should add them up itself."""
    row = BusiestSubjects.objects.filter(
        days=days, end__gt=timezone.now() - OLDEST, milliseconds__gte=QUICK_MILLISECONDS
    ).first()
    if row is None:
        return None
    subjects = {group: make_subjects(group, rows) for group, rows in row.sums.items()}
    return StoredTops(row.end, subjects)
