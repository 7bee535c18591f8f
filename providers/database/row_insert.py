"""Insert many similar rows with one statement, prepared before the transaction begins.

`bulk_create` prepares its rows within the transaction, each of their columns anew, and on SQLite
inserts some thirty at a time. Everybody else who writes waits for it.
"""

import re
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

PLAIN_TEXT = re.compile(r"[A-Za-z0-9_-]{0,64}", re.ASCII)
MAX_PARAMETERS = 30_000  # SQLite allows 32,766 of one statement, Postgres 65,535


def insert_similar_rows(rows: Sequence[Model], varying_fields: Sequence[str]) -> set[object]:
    """Insert rows of one model that differ in these fields alone; rows that exist stay.

    All other columns get the values of the first row. Writes one transaction. Return the primary
    keys of the rows that were inserted.
    """
    if not rows:
        return set()
    fields = list(type(rows[0])._meta.concrete_fields)
    rows_at_once = MAX_PARAMETERS // len(fields)
    statements = [
        prepare_statement(rows[start : start + rows_at_once], varying_fields)
        for start in range(0, len(rows), rows_at_once)
    ]
    inserted: set[object] = set()
    read_key = type(rows[0])._meta.pk.to_python
    with transaction.atomic(), connection.cursor() as cursor:
        for sql, parameters in statements:
            cursor.execute(sql, parameters)
            inserted.update(read_key(key) for (key,) in cursor.fetchall())
    return inserted


def prepare_statement(
    rows: Sequence[Model], varying_fields: Sequence[str]
) -> tuple[str, list[Any]]:
    """Return the statement that inserts the rows, and its parameters.

    A value that is the same in all rows and plain stands in the statement itself: millions of
    parameters would take seconds. For the same reason Postgres gets one array for each column;
    SQLite has no arrays and gets one parameter for each value.
    """
    meta = type(rows[0])._meta
    expressions = []
    passed_fields = []
    for field in meta.concrete_fields:
        literal = None
        if field.name not in varying_fields:
            literal = render_literal(prepare_value(rows[0], field))
        if literal is None:
            passed_fields.append(field)
        expressions.append(literal or quote_name(field.column))
    columns = ", ".join(quote_name(field.column) for field in meta.concrete_fields)
    if connection.vendor == "postgresql":
        source = render_arrays(passed_fields)
        parameters: list[Any] = [
            [prepare_value(row, field) for row in rows] for field in passed_fields
        ]
    else:
        source = render_rows(passed_fields, len(rows))
        parameters = [prepare_value(row, field) for row in rows for field in passed_fields]
    # all names are those of a model
    sql = (
        f"INSERT INTO {quote_name(meta.db_table)} ({columns}) "  # noqa: S608
        f"SELECT {', '.join(expressions)} FROM {source} ON CONFLICT DO NOTHING "
        f"RETURNING {quote_name(meta.pk.column)}"
    )
    return sql, parameters


def quote_name(name: object) -> str:
    """Return the name of a table or column in the quotes of the database."""
    return connection.ops.quote_name(str(name))


def render_arrays(fields: Sequence[Any]) -> str:
    """Return a source of rows whose columns are these fields, each a parameter with an array."""
    arrays = ", ".join(f"%s::{field.rel_db_type(connection)}[]" for field in fields)
    columns = ", ".join(quote_name(field.column) for field in fields)
    return f"unnest({arrays}) AS passed ({columns})"


def render_rows(fields: Sequence[Any], count: int) -> str:
    """Return a source of `count` rows whose columns are these fields, with single parameters.

    SQLite reads `ON` after a table as the condition of a join, unless WHERE stands between.
    """
    names = ", ".join(
        f"column{number} AS {quote_name(field.column)}" for number, field in enumerate(fields, 1)
    )
    row = f"({', '.join(['%s'] * len(fields))})"
    table = f"VALUES {', '.join([row] * count)}"
    return f"(SELECT {names} FROM ({table})) WHERE TRUE"  # noqa: S608


def render_literal(value: object) -> str | None:
    """Return a plain value as SQL; None for a value that must be a parameter."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and PLAIN_TEXT.fullmatch(value):
        return f"'{value}'"
    return None


def prepare_value(row: Model, field: Any) -> object:
    """Return the value of a column as the database takes it; a time of creation is now."""
    return field.get_db_prep_save(field.pre_save(row, True), connection)
