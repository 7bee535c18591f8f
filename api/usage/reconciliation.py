"""Compare the roll-ups with the usage records, and add the differences.

A difference is computed by one statement, which sees one state of the database, in which records
and roll-ups belong together. It stays true while requests go on: whatever is written later changes
both sides alike. So a repair adds the differences and needs no lock; one that was interrupted is
simply begun again. Hours and spending are compared with the records, days and the totals of hours
with the hours, and the total of a subject with its slots. Records that were deleted are not missed:
slots before `RollupState.records_from` are left out.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Min

from api.models import RollupState, UsageHour, UsageRecord
from api.models.usage_rollup import ROLLUP_KEYS
from api.usage import rollup_sql
from api.usage.folding import fold_all_records
from api.usage.rollup_sql import (
    DAYS,
    FOLDED_ROWID,
    HOUR_TOTALS,
    HOURS,
    RECORDS,
    SPEND,
    SPEND_KEYS,
    SUMS,
    Dialect,
)
from api.usage.spans import slot_rollups
from api.usage.spans.slot_expiry import find_compared_begin
from api.usage.spans.slot_rollups import ANSWER_TIMES, SLOT_KEYS, SLOTS, TIME_KEYS

SLICE_BYTES = 64 * 2**20  # of records that one statement reads on Postgres
ROWS_AT_ONCE = 2_000  # differences of one transaction
LEASE_SECONDS = 120.0
COMPARED_TABLES = (HOURS, HOUR_TOTALS, DAYS, SLOTS, ANSWER_TIMES, SPEND)
DIFFERENCES = "usage_differences"  # a temporary table
WHOLE_HOUR = timedelta(hours=1)
WHOLE_DAY = timedelta(days=1)
IN_SPAN = "slot >= %(begin)s AND slot < %(end)s"


class RepairRunning(Exception):
    """Another process repairs the roll-ups now."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A query for the rows that a table of roll-ups should have, to be compared with those it has.

    `condition` chooses the rows of the table, with the values `values`. `shard` is the one to which
    differences are added, in a table that has several.
    """

    table: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    expected: str
    condition: str
    values: dict[str, Any]
    shard: int | None = None


@dataclass(slots=True)
class Differences:
    """Rows of the roll-ups that differ, by table, and by how much their first sum does."""

    rows: dict[str, int]

    @property
    def count(self) -> int:
        return sum(self.rows.values())


# --- what is compared -----------------------------------------------------------------------------
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


def list_slices(begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the parts of a span that one statement compares: whole hours.

    On SQLite it is the whole, since each statement has to look at every record.
    """
    hours = math.ceil((end - begin) / WHOLE_HOUR)
    if connection.vendor == "postgresql":
        hours = max(1, hours // math.ceil(read_records_size() / SLICE_BYTES + 1))
    slices = []
    while begin < end:
        next_begin = min(begin + hours * WHOLE_HOUR, end)
        slices.append((begin, next_begin))
        begin = next_begin
    return slices


def read_records_size() -> int:
    """Return the bytes of the table of usage records on Postgres."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_table_size(to_regclass(%s))", [RECORDS])
        return int(cursor.fetchone()[0])


def list_comparisons(begin: datetime, end: datetime) -> Iterator[Comparison]:
    """Yield the comparisons of the roll-ups of a span of whole days, in their order."""
    dialect = rollup_sql.get_dialect(connection.vendor)
    for first, last in list_slices(begin, end):
        yield from compare_with_records(dialect, first, last)
        yield from compare_slots_with_records(dialect, first, last)
    yield compare_hour_totals_with_hours(dialect, begin, end)
    yield compare_days_with_hours(dialect, begin, end)
    yield compare_totals_with_slots(dialect)


def compare_with_records(dialect: Dialect, begin: datetime, end: datetime) -> Iterator[Comparison]:
    """Yield the comparisons of hours and of spending with the records of a span."""
    records = render_records(dialect)
    values = make_span_values(dialect, begin, end)
    keys = rollup_sql.render_key_values(dialect, dialect.hour)
    hours = rollup_sql.render_grouped_sums(dialect, keys, records)
    yield Comparison(HOURS, ROLLUP_KEYS, SUMS, hours, IN_SPAN, values)
    spend = rollup_sql.render_spend_query(dialect, records)
    slots = f"SELECT * FROM ({spend}) AS spent WHERE slot <> {dialect.total_slot}"
    yield Comparison(SPEND, SPEND_KEYS, ("micro_usd",), slots, IN_SPAN, values)


def render_records(dialect: Dialect) -> str:
    """Return the subquery for the records of a span that the roll-ups should contain."""
    records = f"SELECT * FROM {RECORDS} WHERE started_at >= %(begin)s AND started_at < %(end)s"
    if dialect.vendor == "sqlite":  # records that are not added yet are no difference
        records += f" AND rowid <= {FOLDED_ROWID}"
    return f"({records})"


def compare_slots_with_records(
    dialect: Dialect, begin: datetime, end: datetime
) -> Iterator[Comparison]:
    """Yield the comparisons of slots and answer times with the records of a span.

    Days whose slots may have been deleted are left out.
    """
    begin = max(begin, find_compared_begin())
    if begin >= end:
        return
    records = render_records(dialect)
    values = make_span_values(dialect, begin, end)
    slots = slot_rollups.render_slots(dialect, records)
    yield Comparison(SLOTS, SLOT_KEYS, SUMS, slots, IN_SPAN, values, shard=0)
    times = slot_rollups.render_times(dialect, records)
    yield Comparison(ANSWER_TIMES, TIME_KEYS, ("requests",), times, IN_SPAN, values, shard=0)


def compare_hour_totals_with_hours(dialect: Dialect, begin: datetime, end: datetime) -> Comparison:
    keys = ("slot", "status")
    expected = f"SELECT slot, status, {', '.join(SUMS)} FROM {HOURS} WHERE {IN_SPAN}"
    values = make_span_values(dialect, begin, end)
    return Comparison(HOUR_TOTALS, keys, SUMS, expected, IN_SPAN, values, shard=0)


def compare_days_with_hours(dialect: Dialect, begin: datetime, end: datetime) -> Comparison:
    columns = ", ".join((*ROLLUP_KEYS[1:], *SUMS))
    day = rollup_sql.render_day_of_hour(dialect)
    expected = f"SELECT {day} AS slot, {columns} FROM {HOURS} WHERE {IN_SPAN}"
    values = make_span_values(dialect, begin, end) | {
        "first_day": begin.date().isoformat(),
        "end_day": end.date().isoformat(),
    }
    whole_days = "slot >= %(first_day)s AND slot < %(end_day)s"
    return Comparison(
        DAYS,
        ROLLUP_KEYS,
        SUMS,
        f"SELECT slot, {columns} FROM ({expected}) AS hours",
        whole_days,
        values,
    )


def compare_totals_with_slots(dialect: Dialect) -> Comparison:
    total = dialect.total_slot
    expected = (
        f"SELECT subject_kind, subject_id, {total} AS slot, "
        f"{rollup_sql.render_sum(dialect, 'micro_usd')} AS micro_usd FROM {SPEND} "
        f"WHERE slot <> {total} GROUP BY 1, 2"
    )
    return Comparison(SPEND, SPEND_KEYS, ("micro_usd",), expected, f"slot = {total}", {})


def make_span_values(dialect: Dialect, begin: datetime, end: datetime) -> dict[str, Any]:
    """Return the values of IN_SPAN."""
    return {
        "begin": rollup_sql.adapt_moment(dialect, begin),
        "end": rollup_sql.adapt_moment(dialect, end),
    }


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
