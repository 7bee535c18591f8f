"""Delete usage records that are older than USAGE_DAYS; their sums stay in the roll-ups."""

from datetime import UTC, datetime, timedelta
from functools import partial

from django.db import connection, transaction
from django.db.models import QuerySet

from api.models import RollupState, UsageRecord
from api.request_ids import first_id_at
from api.usage import reconciliation
from api.usage.rollup_sql import FOLDED_ROWID, RECORDS
from providers.deletions.deletion_jobs import write_and_pause

RECORDS_AT_ONCE = 1_000  # of one transaction


def find_cutoff(days: int) -> datetime:
    """Return the midnight in UTC before which requests began that are older than so many days."""
    begin = datetime.now(UTC) - timedelta(days=days)
    return begin.replace(hour=0, minute=0, second=0, microsecond=0)


def filter_old_records(cutoff: datetime) -> QuerySet[UsageRecord]:
    """Return the records of requests that began before then, found by their ids.

    On SQLite records that the roll-ups do not contain yet are left out.
    """
    records = UsageRecord.objects.filter(pk__lt=first_id_at(cutoff), started_at__lt=cutoff)
    if connection.vendor == "sqlite":
        records = records.extra(where=[f"{RECORDS}.rowid <= {FOLDED_ROWID}"])
    return records


def delete_old_records(days: int) -> int:
    """Delete the records that are older than so many days, in slices; return how many.

    Nothing is deleted while the roll-ups lack records from before their time.
    """
    reconciliation.complete_rollups()
    if RollupState.objects.filter(pk=1, needs_rebuild=True).exists():
        return 0
    cutoff = find_cutoff(days)
    deleted_count = 0
    while count := write_and_pause(partial(delete_slice, cutoff)):
        deleted_count += count
    return deleted_count


def delete_slice(cutoff: datetime) -> int:
    """Delete some of the records from before then, and note from when on there are records."""
    ids = list(
        filter_old_records(cutoff).order_by("pk").values_list("pk", flat=True)[:RECORDS_AT_ONCE]
    )
    if not ids:
        return 0
    with transaction.atomic():
        state, _ = RollupState.objects.get_or_create(pk=1)
        if state.records_from is None or state.records_from < cutoff:
            RollupState.objects.filter(pk=1).update(records_from=cutoff)
        records = UsageRecord.objects.filter(pk__in=ids)
        return records._raw_delete(records.db)
