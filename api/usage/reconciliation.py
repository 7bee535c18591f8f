"""Compare the roll-ups with the usage records, and add the differences.

A difference is computed by one statement, which sees one state of the database, in which records
and roll-ups belong together. It stays true while requests go on: whatever is written later changes
both sides alike. So a repair adds the differences and needs no lock; one that was interrupted is
simply begun again. Records that were deleted are not missed: slots before
`RollupState.records_from` are left out. The queries are in `rollup_comparisons.py`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Max, Min

from api.models import RollupState, UsageHour, UsageRecord
from api.usage import rollup_sql
from api.usage.folding import fold_all_records
from api.usage.rollup_comparisons import Comparison, list_comparisons
from api.usage.rollup_sql import DAYS, HOUR_TOTALS, HOURS, SPEND
from api.usage.spans.slot_rollups import ANSWER_TIMES, SLOTS

ROWS_AT_ONCE = 2_000  # differences of one transaction
LEASE_SECONDS = 120.0
COMPARED_TABLES = (HOURS, HOUR_TOTALS, DAYS, SLOTS, ANSWER_TIMES, SPEND)
DIFFERENCES = "usage_differences"  # a temporary table
WHOLE_DAY = timedelta(days=1)


class RepairRunning(Exception):
    """Another process repairs the roll-ups now."""


@dataclass(slots=True)
class Differences:
    """Rows of the roll-ups that differ, by table, and by how much their first sum does."""

    rows: dict[str, int]

    @property
    def count(self) -> int:
        return sum(self.rows.values())


# --- the span -------------------------------------------------------------------------------------
def find_records_span() -> tuple[datetime, datetime]:
    """Return the whole days in which there are records or hours: from the first, to after the last.

    Days whose records were deleted are left out.
    """
    spans = [
        UsageRecord.objects.aggregate(first=Min("started_at"), last=Max("started_at")),
        UsageHour.objects.aggregate(first=Min("slot"), last=Max("slot")),
    ]
    moments = [moment for span in spans for moment in span.values() if moment is not None]
    if not moments:
        now = datetime.now(UTC)
        return now, now
    first = min(moments).replace(hour=0, minute=0, second=0, microsecond=0)
    state = RollupState.objects.filter(pk=1).first()
    if state is not None and state.records_from is not None:
        first = max(first, state.records_from)
    last = max(moments).replace(hour=0, minute=0, second=0, microsecond=0)
    return first, last + WHOLE_DAY


# --- the differences ------------------------------------------------------------------------------
def render_differences(comparison: Comparison) -> str:
    """Return the query for the differences to add to the rows of a table, with a number `n`."""
    keys = ", ".join(comparison.keys)
    columns = ", ".join((*comparison.keys, *comparison.sums))
    negative = ", ".join((*comparison.keys, *(f"-{name}" for name in comparison.sums)))
    dialect = rollup_sql.get_dialect(connection.vendor)
    sums = ", ".join(
        f"{rollup_sql.render_sum(dialect, name)} AS {name}" for name in comparison.sums
    )
    is_different = " OR ".join(f"SUM({name}) <> 0" for name in comparison.sums)
    return (
        f"SELECT row_number() OVER (ORDER BY {keys}) AS n, {keys}, {sums} FROM ("
        f"SELECT {columns} FROM ({comparison.expected}) AS expected UNION ALL "
        f"SELECT {negative} FROM {comparison.table} WHERE {comparison.condition}"
        f") AS sides GROUP BY {keys} HAVING {is_different}"
    )


def write_differences(comparison: Comparison) -> int:
    """Write the differences to add to a table into a temporary one; return the number of rows."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {DIFFERENCES}")
        cursor.execute(
            f"CREATE TEMPORARY TABLE {DIFFERENCES} AS {render_differences(comparison)}",
            comparison.values,
        )
        cursor.execute(f"CREATE INDEX {DIFFERENCES}_n ON {DIFFERENCES} (n)")
        cursor.execute(f"SELECT count(*) FROM {DIFFERENCES}")
        return int(cursor.fetchone()[0])


def add_differences(comparison: Comparison, count: int) -> None:
    """Add the rows of the temporary table to the table, ROWS_AT_ONCE in a transaction."""
    keys = list(comparison.keys)
    values = list(comparison.keys)
    if comparison.shard is not None:
        keys.append("shard")
        values.append(str(comparison.shard))
    columns = ", ".join((*values, *comparison.sums))
    part = f"SELECT {columns} FROM {DIFFERENCES} WHERE n > %s AND n <= %s"
    statement = rollup_sql.render_upsert(comparison.table, tuple(keys), comparison.sums, part)
    for start in range(0, count, ROWS_AT_ONCE):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, [start, start + ROWS_AT_ONCE])


def drop_differences() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {DIFFERENCES}")


def summarize_time_index() -> None:
    """Let Postgres's index of times know the latest records, which may take until a VACUUM."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT brin_summarize_new_values(to_regclass('usage_started_at'))")


# --- check and repair -----------------------------------------------------------------------------
def compare_rollups(begin: datetime, end: datetime, *, repair: bool = False) -> Differences:
    """Compare the roll-ups of a span of whole days with the records; return the differences.

    With `repair`, which needs the lease, the differences are added to the roll-ups.
    """
    summarize_time_index()
    found = Differences(dict.fromkeys(COMPARED_TABLES, 0))
    try:
        for comparison in list_comparisons(begin, end):
            count = write_differences(comparison)
            found.rows[comparison.table] += count
            if repair:
                add_differences(comparison, count)
                renew_lease()
    finally:
        drop_differences()
    return found


def repair_rollups(begin: datetime, end: datetime) -> Differences:
    """Add the differences to the roll-ups of a span of whole days, and return them.

    Raises RepairRunning.
    """
    RollupState.objects.get_or_create(pk=1)
    rows = RollupState.objects.filter(pk=1)
    if not rows.claim_lease("claimed_until", LEASE_SECONDS):
        raise RepairRunning
    try:
        return compare_rollups(begin, end, repair=True)
    finally:
        rows.release_lease("claimed_until")


def renew_lease() -> None:
    RollupState.objects.filter(pk=1).renew_lease("claimed_until", LEASE_SECONDS)


def complete_rollups() -> bool:
    """Add the records from before the roll-ups, once; return whether this process did it."""
    if not RollupState.objects.filter(pk=1, needs_rebuild=True).exists():
        return False
    fold_all_records()
    try:
        repair_rollups(*find_records_span())
    except RepairRunning:
        return False
    RollupState.objects.filter(pk=1).update(needs_rebuild=False)
    return True
