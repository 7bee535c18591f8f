"""Compare the tables of the database with the models, after all migrations have run.

They differ when a migration was edited after it was applied. A missing column would cause a 500 at
some later time.
"""

from django.apps import apps
from django.core.management.base import CommandError
from django.db import connection

COLUMNS_POSTGRES = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = ANY (current_schemas(false))
"""
COLUMNS_SQLITE = """
    SELECT tables.name, columns.name FROM sqlite_master AS tables
    JOIN pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table'
"""
MOST_NAMED_COLUMNS = 10


def require_columns() -> None:
    """Raise CommandError with one line that names the missing columns, if there are any."""
    missing = find_missing_columns()
    if missing:
        names = ", ".join(missing[:MOST_NAMED_COLUMNS])
        if len(missing) > MOST_NAMED_COLUMNS:
            names += f" and {len(missing) - MOST_NAMED_COLUMNS} more"
        raise CommandError(
            f"The database lacks {names}, though all migrations have run: an earlier version of "
            "one was applied. Restore a backup from before it, or add what is missing by hand."
        )


def find_missing_columns() -> list[str]:
    """Return `table.column` of every column of a model that its table does not have."""
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS_POSTGRES if connection.vendor == "postgresql" else COLUMNS_SQLITE)
        there = set(cursor.fetchall())
    models = apps.get_models(include_auto_created=True)
    wanted = (
        (model._meta.db_table, field.column)
        for model in models
        if model._meta.managed and not model._meta.proxy
        for field in model._meta.local_concrete_fields
    )
    return sorted(f"{table}.{column}" for table, column in wanted if (table, column) not in there)
