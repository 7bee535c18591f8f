"""Filters of usage records, and their conditions in SQL.

Column names come from this project's code, and values are always sent as parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from api.models import Status, UsageRecord
from api.request_ids import first_id_at
from api.usage.error_origins import render_origin

# an id is made when a request arrives, and its record begins when its body has been read
LONGEST_ARRIVAL = timedelta(minutes=10)
# refused requests of one second share a record that begins with the second
LONGEST_ROUNDING = timedelta(seconds=2)
ROLLUP_COLUMNS = frozenset(("key_id", "user_id", "team_id", "model", "provider_id", "token_id"))
# columns with an index that ends with the id, the most selective first
INDEXED_COLUMNS = ("token_id", "key_id", "user_id")
UNSUCCESSFUL = "NOT (status = 'complete')"  # as in the partial indexes


class Condition(NamedTuple):
    """A condition in SQL, and its values for the database."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestFilters:
    """Which requests are asked for; without anything, all.

    `equal` are columns with their values. `statuses` and `error_codes` are alternatives, and
    `begin` to before `end` is when the requests began. `origin` is that of an error, and
    `unknown_cost` asks for requests without a known cost.
    """

    equal: Mapping[str, Any] = field(default_factory=dict)
    statuses: tuple[str, ...] = ()
    error_codes: tuple[str, ...] = ()
    origin: str = ""
    unknown_cost: bool = False
    begin: datetime | None = None
    end: datetime | None = None

    @property
    def is_in_rollups(self) -> bool:
        """Return whether the roll-ups have the sums of these requests."""
        return ROLLUP_COLUMNS.issuperset(self.equal) and not (
            self.error_codes or self.origin or self.unknown_cost
        )

    @property
    def excludes_complete(self) -> bool:
        """Return whether no request that was answered whole is asked for."""
        if self.error_codes or self.origin:
            return True
        return bool(self.statuses) and Status.COMPLETE not in self.statuses


def list_conditions(filters: RequestFilters) -> list[Condition]:
    """Return the conditions for the records of these filters."""
    conditions = [
        Condition(f"{column} = %s", (adapt_value(column, value),))
        for column, value in filters.equal.items()
    ]
    if filters.statuses:
        conditions.append(make_choice("status", filters.statuses))
    if filters.error_codes:
        conditions.append(make_choice("error_code", filters.error_codes))
    if filters.origin:
        conditions.append(Condition(f"{render_origin()} = %s", (filters.origin,)))
    if filters.excludes_complete:
        conditions.append(Condition(UNSUCCESSFUL))
    if filters.unknown_cost:
        refused = adapt_value("status", Status.REFUSED.value)
        conditions.append(Condition("cost_micro_usd IS NULL AND status <> %s", (refused,)))
    if filters.begin is not None:
        conditions.append(
            Condition("started_at >= %s", (adapt_value("started_at", filters.begin),))
        )
    if filters.end is not None:
        conditions.append(Condition("started_at < %s", (adapt_value("started_at", filters.end),)))
    return conditions


def list_path_conditions(filters: RequestFilters) -> list[Condition]:
    """Return the conditions by which one index finds the records that are looked through.

    With them and a range of ids, the database reads the index in the order of the ids.
    """
    for column in INDEXED_COLUMNS:
        if column in filters.equal:
            value = adapt_value(column, filters.equal[column])
            return [Condition(f"{column} = %s", (value,))]
    if len(filters.error_codes) == 1:
        return [make_choice("error_code", filters.error_codes), Condition(UNSUCCESSFUL)]
    if filters.excludes_complete:
        return [Condition(UNSUCCESSFUL)]
    return []


def list_id_conditions(
    filters: RequestFilters, *, before: UUID | None = None, after: UUID | None = None
) -> list[Condition]:
    """Return the conditions for the ids in the filters' span of time and between two ids."""
    conditions = []
    if filters.begin is not None:
        first = first_id_at(filters.begin - LONGEST_ARRIVAL)
        conditions.append(Condition("id >= %s", (adapt_value("id", first),)))
    if filters.end is not None:
        end = first_id_at(filters.end + LONGEST_ROUNDING)
        conditions.append(Condition("id < %s", (adapt_value("id", end),)))
    if before is not None:
        conditions.append(Condition("id < %s", (adapt_value("id", before),)))
    if after is not None:
        conditions.append(Condition("id > %s", (adapt_value("id", after),)))
    return conditions


def make_choice(column: str, choices: Sequence[Any]) -> Condition:
    """Return the condition that a column has one of these values."""
    values = tuple(adapt_value(column, value) for value in choices)
    return Condition(f"{column} IN ({', '.join(['%s'] * len(values))})", values)


def adapt_value(column: str, value: Any) -> Any:
    """Return a value as the database compares it with a column of usage records."""
    names = {field.column: field for field in UsageRecord._meta.concrete_fields}
    return names[column].get_db_prep_value(value, connection, prepared=False)


def join_conditions(conditions: Sequence[Condition]) -> Condition:
    """Return one condition that all of these make."""
    if not conditions:
        return Condition("1 = 1")
    sql = " AND ".join(condition.sql for condition in conditions)
    return Condition(sql, tuple(value for one in conditions for value in one.values))
