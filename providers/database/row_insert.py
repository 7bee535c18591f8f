"""Insert many similar rows with one statement, prepared before the transaction begins.

`bulk_create` prepares its rows within the transaction, each of their columns anew, and on SQLite
inserts some thirty at a time. Everybody else who writes waits for it.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

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
    """Return the statement that inserts the rows, and its parameters."""
    meta = type(rows[0])._meta
    fields = list(meta.concrete_fields)
    values = [prepare_value(rows[0], field) for field in fields]
    varying = [
        (position, field) for position, field in enumerate(fields) if field.name in varying_fields
    ]
    parameters: list[Any] = []
    for row in rows:
        for position, field in varying:
            values[position] = prepare_value(row, field)
        parameters += values
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    marks = f"({', '.join(['%s'] * len(fields))})"
    table = connection.ops.quote_name(meta.db_table)
    values_of_rows = ", ".join([marks] * len(rows))
    # all names are those of a model
    sql = f"INSERT INTO {table} ({columns}) VALUES {values_of_rows} ON CONFLICT DO NOTHING"  # noqa: S608
    return sql, parameters


def prepare_value(row: Model, field: Any) -> object:
    """Return the value of a column as the database takes it; a time of creation is now."""
    return field.get_db_prep_save(field.pre_save(row, True), connection)
