"""Read the sums of a span of time from the roll-ups, grouped by any of their columns.

Whole days are read from the days, the rest and groups by the hour from the hours, all requests by
the hour from their totals. On SQLite the
records that the roll-ups do not contain yet are added up by the same statement, so that the sums
are exact at any moment, and reading writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from api.models import UsageHour
from api.usage import rollup_sql
from api.usage.rollup_sql import (
    DAYS,
    FOLDED_ROWID,
    HOUR_TOTALS,
    HOURS,
    RECORDS,
    SUMMED_VALUES,
    SUMS,
    Dialect,
)

HOUR = "hour"
DAY = "day"
# what sums are grouped by, and the column of the roll-ups
GROUP_COLUMNS = {
    "key": "key_id",
    "user": "user_id",
    "team": "team_id",
    "model": "model",
    "provider": "provider_id",
    "token": "token_id",
    "status": "status",
}
GROUPS = (HOUR, DAY, *GROUP_COLUMNS)
LONGEST_OF_HOURS = timedelta(days=31)  # of spans whose totals are read from those of hours


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which sums are asked for: those of the requests that began from `begin` until before `end`.

    Both are whole hours in UTC. `key_id` or `user_id` restricts them to one key or user, and
    `chosen` any column of the roll-ups to some values. At most `limit` groups are returned.
    """

    group_by: tuple[str, ...]
    begin: datetime
    end: datetime
    limit: int
    key_id: int | None = None
    user_id: int | None = None
    chosen: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupSums:
    """The sums of one group: the values of `group_by` in their order, and the sums by name."""

    values: tuple[Any, ...]
    sums: dict[str, int]


@dataclass(frozen=True, slots=True)
class UsageSums:
    """The groups of a query, and the sums of all groups, also of those beyond the limit."""

    groups: list[GroupSums]
    totals: dict[str, int]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A table from which a part of a span is read, its slot, and the condition for its rows."""

    table: str
    hour: str
    day: str
    condition: str
    keys: dict[str, str]
    sums: dict[str, str]


def read_usage(query: UsageQuery) -> UsageSums:
    """Return the sums that are asked for; one statement."""
    statement, values = render_statement(rollup_sql.get_dialect(connection.vendor), query)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        total_row, *rows = cursor.fetchall()
    count = len(query.group_by)
    groups = [
        GroupSums(
            tuple(map(read_value, query.group_by, row[1 : count + 1])),
            dict(zip(SUMS, row[count + 1 :], strict=True)),
        )
        for row in rows
    ]
    totals = dict(zip(SUMS, total_row[count + 1 :], strict=True))
    return UsageSums(groups[: query.limit], totals, len(groups) > query.limit)


def read_value(group: str, value: Any) -> Any:
    """Return a value of a group: an hour as an aware time, a day as an ISO text, else an id."""
    if group == HOUR:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if group == DAY:
        return str(value)
    if group == "token" and not isinstance(value, UUID):
        return UUID(value)
    return value


# --- the statement --------------------------------------------------------------------------------
def render_statement(dialect: Dialect, query: UsageQuery) -> tuple[str, dict[str, Any]]:
    """Return the statement of a query and its values.

    Its first row has the sums of all groups, and no values of groups.
    """
    names = [f"group_{number}" for number in range(len(query.group_by))]
    numbers = ", ".join(str(number + 1) for number in range(len(names)))
    parts, values = list_parts(dialect, query)
    pieces = " UNION ALL ".join(render_part(dialect, part, query.group_by, names) for part in parts)
    sums = ", ".join(f"{rollup_sql.render_sum(dialect, name)} AS {name}" for name in SUMS)
    columns = ", ".join(names)
    nothing = ", ".join(f"NULL AS {name}" for name in names)
    order = ", ".join(list_order(query.group_by, names))
    statement = f"""
    WITH grouped AS MATERIALIZED (
        SELECT {columns}, {sums} FROM ({pieces}) AS parts GROUP BY {numbers}
    )
    SELECT * FROM (
        SELECT 0 AS place, {nothing}, {sums} FROM grouped
        UNION ALL
        SELECT 1, chosen.* FROM (
            SELECT {columns}, {", ".join(SUMS)} FROM grouped
            ORDER BY {order} LIMIT {query.limit + 1:d}
        ) AS chosen
    ) AS answer ORDER BY place, {order}
    """
    return statement, values


def list_order(group_by: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the order of groups: by time, then the dearest and the most requests first."""
    times = [name for group, name in zip(group_by, names, strict=True) if group in (HOUR, DAY)]
    others = [name for name in names if name not in times]
    return [*times, "cost_micro_usd DESC", "requests DESC", *others]


def render_part(dialect: Dialect, part: Part, group_by: Sequence[str], names: Sequence[str]) -> str:
    """Return the query for the groups of one part."""
    slots = {HOUR: part.hour, DAY: part.day}
    expressions = [slots.get(group) or part.keys[GROUP_COLUMNS[group]] for group in group_by]
    columns = [
        *(f"{value} AS {name}" for value, name in zip(expressions, names, strict=True)),
        *(f"{rollup_sql.render_sum(dialect, part.sums[name])} AS {name}" for name in SUMS),
    ]
    numbers = ", ".join(str(number + 1) for number in range(len(names)))
    return (
        f"SELECT {', '.join(columns)} FROM {part.table} WHERE {part.condition} GROUP BY {numbers}"
    )


def list_parts(dialect: Dialect, query: UsageQuery) -> tuple[list[Part], dict[str, Any]]:
    """Return the tables from which the span is read, and the values of their conditions."""
    first_day = ceil_to_day(query.begin)
    end_day = query.end.replace(hour=0)
    values: dict[str, Any] = {
        "begin": rollup_sql.adapt_moment(dialect, query.begin),
        "end": rollup_sql.adapt_moment(dialect, query.end),
        "first_day": first_day.date().isoformat(),
        "end_day": end_day.date().isoformat(),
        "days_begin": rollup_sql.adapt_moment(dialect, first_day),
        "days_end": rollup_sql.adapt_moment(dialect, end_day),
        "key_id": query.key_id,
        "user_id": query.user_id,
        **list_chosen_values(query),
    }
    in_span = "slot >= %(begin)s AND slot < %(end)s"
    if has_hour_totals(query):
        parts = [make_rollup_part(dialect, HOUR_TOTALS, in_span, query)]
    elif HOUR in query.group_by or first_day >= end_day:
        parts = [make_rollup_part(dialect, HOURS, in_span, query)]
    else:
        whole_days = "slot >= %(first_day)s AND slot < %(end_day)s"
        parts = [make_rollup_part(dialect, DAYS, whole_days, query)]
        if query.begin < first_day:
            before = "slot >= %(begin)s AND slot < %(days_begin)s"
            parts.append(make_rollup_part(dialect, HOURS, before, query))
        if end_day < query.end:
            after = "slot >= %(days_end)s AND slot < %(end)s"
            parts.append(make_rollup_part(dialect, HOURS, after, query))
    if dialect.vendor == "sqlite":
        parts.append(make_records_part(dialect, query))
    return parts, values


def has_hour_totals(query: UsageQuery) -> bool:
    """Return whether the totals of hours answer the query."""
    is_of_all = query.key_id is None and query.user_id is None and query.chosen.keys() <= {"status"}
    is_by_time = HOUR in query.group_by or query.end - query.begin <= LONGEST_OF_HOURS
    return is_of_all and is_by_time and {HOUR, DAY, "status"}.issuperset(query.group_by)


def make_rollup_part(dialect: Dialect, table: str, condition: str, query: UsageQuery) -> Part:
    day = "slot" if table == DAYS else rollup_sql.render_day_of_hour(dialect)
    names = {name: name for name in (*GROUP_COLUMNS.values(), *SUMS)}
    return Part(table, "slot", day, condition + render_restriction(query), names, names)


def make_records_part(dialect: Dialect, query: UsageQuery) -> Part:
    """Return the part of the records that the roll-ups do not contain yet."""
    named_keys = rollup_sql.render_key_values(dialect, dialect.hour)
    condition = (
        f"rowid > {FOLDED_ROWID} AND started_at >= %(begin)s AND started_at < %(end)s"
        + render_restriction(query)
    )
    return Part(RECORDS, dialect.hour, dialect.day, condition, named_keys, SUMMED_VALUES)


def render_restriction(query: UsageQuery) -> str:
    """Return the condition for the rows of the query's key or user."""
    text = ""
    if query.key_id is not None:
        text += " AND key_id = %(key_id)s"
    if query.user_id is not None:
        text += " AND user_id = %(user_id)s"
    for column, values in query.chosen.items():
        names = ", ".join(f"%({column}_{number})s" for number in range(len(values)))
        text += f" AND {column} IN ({names})"
    return text


def list_chosen_values(query: UsageQuery) -> dict[str, Any]:
    """Return the parameters of the chosen values."""
    fields = {field.column: field for field in UsageHour._meta.concrete_fields}
    return {
        f"{column}_{number}": fields[column].get_db_prep_value(value, connection)
        for column, values in query.chosen.items()
        for number, value in enumerate(values)
    }


def ceil_to_day(moment: datetime) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == moment else midnight + timedelta(days=1)
