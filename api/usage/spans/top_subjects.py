"""Find the keys, users, models and providers with the most requests of a span of time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from api.usage import rollup_sql, subject_names, usage_query
from api.usage.rollup_sql import Dialect
from api.usage.usage_parameters import ceil_to_hour, floor_to_hour
from api.usage.usage_query import UsageQuery

GROUPS = ("key", "user", "model", "provider")
MEASURED = ("requests", "prompt_tokens", "completion_tokens", "cost_micro_usd")
UNKNOWN = "unknown_cost_requests"


@dataclass(frozen=True, slots=True)
class TopSubject:
    """One key, user, model or provider, and its sums; `subject_id` is the name of a model."""

    subject_id: Any
    name: str
    requests: int
    tokens: int
    cost_micro_usd: int
    unknown_cost_requests: int


def read_top_subjects(begin: datetime, end: datetime, limit: int) -> dict[str, list[TopSubject]]:
    """Return by group those with the most requests in the whole hours around a span."""
    sums = read_top_sums(begin, end, limit)
    return {group: make_subjects(group, sums[group]) for group in GROUPS}


def read_top_sums(begin: datetime, end: datetime, limit: int) -> dict[str, list[list[Any]]]:
    """Return by group the ids and sums of those with the most requests, as JSON.

    A row has the id, the requests, the prompt and completion tokens, the cost and the requests of
    unknown cost. Requests without a key, user or provider are left out.
    """
    dialect = rollup_sql.get_dialect(connection.vendor)
    query = UsageQuery(GROUPS, floor_to_hour(begin), ceil_to_hour(end), limit)
    statement, values = render_statement(dialect, query)
    rows: dict[str, list[list[Any]]] = {group: [] for group in GROUPS}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        for group, subject, *sums in cursor.fetchall():
            rows[group].append([subject, *map(int, sums)])
    return rows


def make_subjects(group: str, rows: list[Any]) -> list[TopSubject]:
    """Return the subjects of a group with their names, the one with the most requests first."""
    ids = [row[0] if group == "model" else int(row[0]) for row in rows]
    names = {} if group == "model" else subject_names.load_names(group, ids)
    subjects = [
        TopSubject(
            subject_id,
            names.get(subject_id, str(subject_id)),
            requests,
            prompt + completion,
            cost,
            unknown,
        )
        for subject_id, (_, requests, prompt, completion, cost, unknown) in zip(
            ids, rows, strict=True
        )
    ]
    return sorted(subjects, key=lambda subject: (-subject.requests, subject.name))


def render_statement(dialect: Dialect, query: UsageQuery) -> tuple[str, dict[str, Any]]:
    """Return the statement and its values.

    It first adds up rows of the same key, user, model and provider, and each group from that.
    """
    names = [f"group_{number}" for number in range(len(GROUPS))]
    parts, values = usage_query.list_parts(dialect, query)
    pieces = " UNION ALL ".join(
        usage_query.render_part(dialect, part, query.group_by, names) for part in parts
    )
    measured = (*MEASURED, UNKNOWN)
    sums = ", ".join(f"{rollup_sql.render_sum(dialect, name)} AS {name}" for name in measured)
    tops = " UNION ALL ".join(
        f"SELECT * FROM (SELECT '{group}' AS kind, CAST({name} AS text) AS subject, {sums} "
        f"FROM grouped WHERE {render_condition(group, name)} GROUP BY {name} "
        f"ORDER BY requests DESC LIMIT {query.limit:d}) AS {name}_top"
        for group, name in zip(GROUPS, names, strict=True)
    )
    statement = (
        f"WITH grouped AS MATERIALIZED (SELECT {', '.join(names)}, {sums} "
        f"FROM ({pieces}) AS parts GROUP BY {', '.join(names)}) {tops}"
    )
    return statement, values


def render_condition(group: str, name: str) -> str:
    """Return the condition that a row is somebody's."""
    return "true" if group == "model" else f"{name} <> 0"
