"""Read the changes of a stamped table since an earlier version, and delete old tombstones.

`providers/database/revisions.py` has the triggers that write the versions and the tombstones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, QuerySet
from django.db.models.functions import Greatest, Now

from providers.models import Revision, Tombstone

ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Changes:
    """The result of one reading.

    With `has_all_rows`, `rows` are all rows of the table. Otherwise they are the rows that changed
    since the version seen before, and `deleted_ids` are the ids of the rows deleted since then.
    """

    version: int
    has_all_rows: bool
    rows: list[tuple[Any, ...]]
    deleted_ids: list[str]


def read_changes(
    topic: str, table: "QuerySet[Any, Any]", columns: Sequence[str], seen_version: int
) -> Changes:
    """Return the changes of a table after version `seen_version` of its topic.

    All rows are returned when the changes since `seen_version` are not known. The version is read
    before the rows and the floor after them: a change that is made meanwhile is read again next
    time.
    """
    rows = table.order_by()
    version = read_version(topic)
    if 0 <= seen_version <= version:
        changed = list(
            rows.filter(changed__gt=seen_version).values_list(*columns).iterator(ROWS_AT_ONCE)
        )
        tombstones = Tombstone.objects.filter(topic=topic, version__gt=seen_version)
        deleted = list(tombstones.values_list("row_id", flat=True).iterator(ROWS_AT_ONCE))
        if seen_version >= read_floor(topic):
            return Changes(version, False, changed, deleted)
    return Changes(version, True, list(rows.values_list(*columns).iterator(ROWS_AT_ONCE)), [])


def read_version(topic: str) -> int:
    """Return the number of changes of a topic so far."""
    return Revision.objects.filter(topic=topic).values_list("version", flat=True).first() or 0


def read_floor(topic: str) -> int:
    """Return the oldest version of a topic since which every change is known."""
    return Revision.objects.filter(topic=topic).values_list("floor", flat=True).first() or 0


@transaction.atomic
def delete_old_tombstones() -> int:
    """Delete tombstones older than TOMBSTONE_SECONDS, and return how many.

    The floors of their topics are raised, so that readers with an older version read every row
    again.
    """
    old = Tombstone.objects.filter(
        deleted_at__lt=Now() - timedelta(seconds=settings.TOMBSTONE_SECONDS)
    )
    latest = (
        old.values("topic")
        .annotate(version=Max("version"))
        .order_by("topic")
        .values_list("topic", "version")
    )
    count = 0
    for topic, version in list(latest):
        Revision.objects.filter(topic=topic).update(floor=Greatest(F("floor"), version))
        count += Tombstone.objects.filter(topic=topic, version__lte=version).delete()[0]
    return count
