"""The comparisons of roll-ups: for each table a query for the rows that it should have.

Hours and spending are compared with the records, days and the totals of hours with the hours, and
the total of a subject with its slots.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from api.models.usage_rollup import ROLLUP_KEYS
from api.usage import rollup_sql
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
WHOLE_HOUR = timedelta(hours=1)
IN_SPAN = "slot >= %(begin)s AND slot < %(end)s"


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
