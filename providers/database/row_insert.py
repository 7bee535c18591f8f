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


def insert_similar_rows(rows: Sequence[Model], varying_fields: Sequence[str]) -> None:
    """Insert rows of one model that differ in these fields alone; rows that exist stay.

    All other columns get the values of the first row. Writes one transaction.
    """
    if not rows:
        return
    fields = list(type(rows[0])._meta.concrete_fields)
    rows_at_once = MAX_PARAMETERS // len(fields)
    statements = [
        prepare_statement(rows[start : start + rows_at_once], varying_fields)
        for start in range(0, len(rows), rows_at_once)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        for sql, parameters in statements:
            cursor.execute(sql, parameters)


def prepare_statement(
    rows: Sequence[Model], varying_fields: Sequence[str]
) -> tuple[str, list[Any]]:
    """Return the statement that inserts the rows, and its parameters.

    A value that is the same in all rows and plain stands in the statement itself: millions of
    parameters would take seconds.
    """
    meta = type(rows[0])._meta
    marks = []
    passed_fields = []
    for field in meta.concrete_fields:
        literal = None
        if field.name not in varying_fields:
            literal = render_literal(prepare_value(rows[0], field))
        if literal is None:
            passed_fields.append(field)
        marks.append(literal or "%s")
    parameters = [prepare_value(row, field) for row in rows for field in passed_fields]
    quote_name = connection.ops.quote_name
    columns = ", ".join(quote_name(str(field.column)) for field in meta.concrete_fields)
    values = ", ".join([f"({', '.join(marks)})"] * len(rows))
    table = quote_name(meta.db_table)
    # all names are those of a model
    sql = f"INSERT INTO {table} ({columns}) VALUES {values} ON CONFLICT DO NOTHING"  # noqa: S608
    return sql, parameters


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
