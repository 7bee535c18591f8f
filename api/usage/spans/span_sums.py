"""Read the sums of spans of time from the slots of five minutes, in one statement.

Spans begin and end at whole five minutes, so days in any time zone are exact. On SQLite the records
that the slots do not contain yet are added up too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from api.models.usage_record import Status
from api.usage import rollup_sql
from api.usage.rollup_sql import FOLDED_ROWID, RECORDS, SUMMED_VALUES, SUMS, Dialect
from api.usage.spans import slot_rollups
from api.usage.spans.slot_rollups import SLOTS

Span = tuple[datetime, datetime]  # from the first moment until before the second


@dataclass(slots=True)
class SpanSums:
    """The sums of one span.

    `requests` has all requests; those that a limit refused are in `refused` too. `errors` has the
    failed requests by origin. `cost_micro_usd` leaves out `unknown_cost_requests`.
    """

    requests: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_micro_usd: int = 0
    unknown_cost_requests: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def error_count(self) -> int:
        return sum(self.errors.values())

    def add_row(self, status: str, origin: str, sums: dict[str, int]) -> None:
        """Add the sums of requests that ended alike."""
        self.requests += sums["requests"]
        if status == Status.REFUSED:
            self.refused += sums["requests"]
        if origin:
            self.errors[origin] = self.errors.get(origin, 0) + sums["requests"]
        self.prompt_tokens += sums["prompt_tokens"]
        self.completion_tokens += sums["completion_tokens"]
        self.cached_tokens += sums["cached_tokens"]
        self.cost_micro_usd += sums["cost_micro_usd"]
        self.unknown_cost_requests += sums["unknown_cost_requests"]

    def add_sums(self, other: "SpanSums") -> None:
        """Add the sums of another span."""
        for name in self.__slots__:
            if name != "errors":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for origin, count in other.errors.items():
            self.errors[origin] = self.errors.get(origin, 0) + count


def read_span_sums(spans: Sequence[Span]) -> list[SpanSums]:
    """Return the sums of each span, in their order."""
    found = [SpanSums() for _ in spans]
    if not spans:
        return found
    dialect = rollup_sql.get_dialect(connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(render_statement(dialect, len(spans)), list_values(dialect, spans))
        for number, status, origin, *sums in cursor.fetchall():
            found[number].add_row(status, origin, dict(zip(SUMS, map(int, sums), strict=True)))
    return found


def total_sums(parts: Sequence[SpanSums]) -> SpanSums:
    """Return the sums of several spans together."""
    total = SpanSums()
    for part in parts:
        total.add_sums(part)
    return total


# --- the statement --------------------------------------------------------------------------------
def render_statement(dialect: Dialect, count: int) -> str:
    """Return the statement: a row for each span, status and origin."""
    sums = ", ".join(f"{rollup_sql.render_sum(dialect, name)} AS {name}" for name in SUMS)
    pieces = [
        f"SELECT number, status, origin, {sums} FROM spans JOIN {SLOTS} AS slots "
        "ON slots.slot >= begin_at AND slots.slot < end_at GROUP BY 1, 2, 3"
    ]
    if dialect.vendor == "sqlite":
        keys = slot_rollups.render_slot_values(dialect)
        values = ", ".join(
            f"{rollup_sql.render_sum(dialect, value)} AS {name}"
            for name, value in SUMMED_VALUES.items()
        )
        pieces.append(
            f"SELECT number, status, {keys['origin']} AS origin, {values} "
            f"FROM {RECORDS} JOIN spans ON started_at >= begin_at AND started_at < end_at "
            f"WHERE {RECORDS}.rowid > {FOLDED_ROWID} GROUP BY 1, 2, 3"
        )
    return f"{render_spans(dialect, count)} {' UNION ALL '.join(pieces)}"


def render_spans(dialect: Dialect, count: int) -> str:
    """Return the beginning of a statement that names its spans: `number, begin_at, end_at`."""
    kind = "timestamptz" if dialect.vendor == "postgresql" else "text"
    rows = ", ".join(
        f"({number}, CAST(%s AS {kind}), CAST(%s AS {kind}))" for number in range(count)
    )
    return f"WITH spans (number, begin_at, end_at) AS (VALUES {rows})"


def list_values(dialect: Dialect, spans: Sequence[Span]) -> list[Any]:
    """Return the values of the spans in a statement."""
    return [rollup_sql.adapt_moment(dialect, moment) for span in spans for moment in span]
