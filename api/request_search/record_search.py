"""Search usage records from the newest to older ones, in bounded steps.

A step looks through SCANNED_AT_ONCE records that one index finds. Between two steps the roll-ups
tell the day and hour of the next match, so that spans without one are left out.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from api.models import RollupState
from api.request_ids import first_id_at
from api.request_search.request_filters import (
    LONGEST_ROUNDING,
    ROLLUP_COLUMNS,
    Condition,
    RequestFilters,
    adapt_value,
    join_conditions,
    list_conditions,
    list_id_conditions,
    list_path_conditions,
    make_choice,
)
from api.usage import rollup_sql

SCANNED_AT_ONCE = 1_000  # records of one step
SKIPPED_AT_ONCE = 50_000  # rows of the roll-ups that are looked through for the next match
EARLIEST_DAY = "1971-01-01"
ONE_DAY = timedelta(days=1)
ONE_HOUR = timedelta(hours=1)


@dataclass(slots=True)
class FoundRecords:
    """The ids that a search found, in the order of the page.

    `stopped_at` is the last id that it looked at, if there is more that it did not look through.
    """

    ids: list[UUID] = field(default_factory=list)
    has_more: bool = False
    stopped_at: UUID | None = None


def search_records(
    filters: RequestFilters, count: int, seconds: float, before: UUID | None = None
) -> FoundRecords:
    """Return the newest `count` records before an id; no step begins after `seconds`."""
    found = FoundRecords()
    until = time.monotonic() + seconds
    cursor = before
    has_skipped = False
    while True:
        ids = select_ids(filters, count + 1 - len(found.ids), SCANNED_AT_ONCE, before=cursor)
        found.ids += ids
        if len(found.ids) > count:
            found.ids.pop()
            found.has_more = True
            return found
        floor = find_floor(filters, SCANNED_AT_ONCE, before=cursor)
        if floor is not None and not ids and not has_skipped:
            floor = skip_slots(filters, floor)
            has_skipped = True
        if floor is None:
            return found
        cursor = floor
        if time.monotonic() >= until:
            found.stopped_at = cursor
            return found


def search_newer_records(
    filters: RequestFilters, count: int, seconds: float, after: UUID
) -> FoundRecords:
    """Return the `count` records that follow an id, the newest first."""
    ids: list[UUID] = []
    until = time.monotonic() + seconds
    cursor: UUID | None = after
    while cursor is not None and len(ids) < count:
        ids += select_ids(filters, count - len(ids), SCANNED_AT_ONCE, after=cursor)
        cursor = find_floor(filters, SCANNED_AT_ONCE, after=cursor)
        if time.monotonic() >= until:
            break
    return FoundRecords(ids[::-1], has_more=True)


def select_ids(
    filters: RequestFilters,
    count: int,
    most_scanned: int,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
) -> list[UUID]:
    """Return the first matching ids among `most_scanned` records, from one end on."""
    scan = render_scan(filters, ("*",), most_scanned, before=before, after=after)
    match = join_conditions(list_conditions(filters))
    order = "ASC" if after is not None else "DESC"
    statement = (
        f"SELECT id FROM ({scan.sql}) AS scanned WHERE {match.sql} ORDER BY id {order} LIMIT %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, (*scan.values, *match.values, count))
        return [read_id(row[0]) for row in cursor.fetchall()]


def render_scan(
    filters: RequestFilters,
    columns: tuple[str, ...],
    most_scanned: int,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
) -> Condition:
    """Return the query for the records that a step looks through, in the order of their ids.

    Its limit also keeps the database from choosing another index than the one that is meant.
    """
    conditions = list_path_conditions(filters)
    conditions += list_id_conditions(filters, before=before, after=after)
    path = join_conditions(conditions)
    order = "ASC" if after is not None else "DESC"
    sql = (
        f"SELECT {', '.join(columns)} FROM {rollup_sql.RECORDS} WHERE {path.sql} "
        f"ORDER BY id {order} LIMIT {most_scanned:d}"
    )
    return Condition(sql, path.values)


def find_floor(
    filters: RequestFilters,
    step: int,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
) -> UUID | None:
    """Return the last id of a step, or None when the step reached the last record."""
    scan = render_scan(filters, ("id",), step + 1, before=before, after=after)
    with connection.cursor() as cursor:
        cursor.execute(f"{scan.sql} OFFSET {step - 1:d}", scan.values)
        rows = cursor.fetchmany(2)
    return read_id(rows[0][0]) if len(rows) > 1 else None


def read_id(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def read_time(record_id: UUID) -> datetime:
    """Return when a request arrived, by its id."""
    return datetime.fromtimestamp((record_id.int >> 80) / 1000, UTC)


# --- spans without a match ------------------------------------------------------------------------
def skip_slots(filters: RequestFilters, cursor: UUID) -> UUID | None:
    """Return the id before which the next match may be, or None when there is none.

    The roll-ups know days and hours without any. Filters that have an index of their own skip
    nothing, and nothing is skipped while the roll-ups are not complete.
    """
    columns = ROLLUP_COLUMNS.intersection(filters.equal)
    if not columns or list_path_conditions(filters) or has_incomplete_rollups():
        return cursor
    moment = read_time(cursor) + LONGEST_ROUNDING
    first_day = filters.begin.date().isoformat() if filters.begin else EARLIEST_DAY
    day, has_match = find_slot(filters, rollup_sql.DAYS, (first_day, moment.date().isoformat()))
    if day is None:
        return None
    cursor = min(cursor, first_id_at(day + ONE_DAY + LONGEST_ROUNDING))
    if not has_match:
        return cursor
    dialect = rollup_sql.get_dialect(connection.vendor)
    latest = rollup_sql.adapt_moment(dialect, read_time(cursor))
    hour, _ = find_slot(filters, rollup_sql.HOURS, (rollup_sql.adapt_moment(dialect, day), latest))
    if hour is None:
        return cursor
    return min(cursor, first_id_at(hour + ONE_HOUR + LONGEST_ROUNDING))


def find_slot(
    filters: RequestFilters, table: str, span: tuple[Any, Any]
) -> tuple[datetime | None, bool]:
    """Return the begin of the newest slot of a span that may have a match, and if it has one.

    At most SKIPPED_AT_ONCE rows are looked through; if none matches, it is the slot of the last.
    None means that no slot has a match.
    """
    columns = sorted(ROLLUP_COLUMNS.intersection(filters.equal))
    conditions = [
        Condition(f"{column} = %s", (adapt_value(column, filters.equal[column]),))
        for column in columns
    ]
    if filters.statuses:
        conditions.append(make_choice("status", filters.statuses))
    match = join_conditions(conditions)
    names = ", ".join(("slot", "status", *columns))
    source = f"FROM {table} WHERE slot >= %s AND slot <= %s ORDER BY slot DESC LIMIT"
    rows = f"SELECT {names} {source} {SKIPPED_AT_ONCE:d}"
    newest = f"SELECT slot FROM ({rows}) AS slots WHERE {match.sql} ORDER BY slot DESC LIMIT 1"
    last = f"SELECT slot {source} 1 OFFSET {SKIPPED_AT_ONCE:d}"
    with connection.cursor() as cursor:
        cursor.execute(newest, (*span, *match.values))
        row = cursor.fetchone()
        has_match = row is not None
        if row is None:
            cursor.execute(last, span)
            row = cursor.fetchone()
    return (None if row is None else read_slot(row[0])), has_match


def read_slot(value: Any) -> datetime:
    """Return the begin of an hour or a day as the databases give it."""
    begin = datetime.fromisoformat(str(value))
    return begin if begin.tzinfo else begin.replace(tzinfo=UTC)


def has_incomplete_rollups() -> bool:
    """Return whether the roll-ups lack records from before they existed."""
    return RollupState.objects.filter(needs_rebuild=True).exists()
