"""Compare the database with this release, before and after its migrations run.

Before: it must not be of a newer release, whose tables this one does not know. After: the tables
must be those of the models. They differ when a migration was edited after it was applied. A missing
column would cause a 500 at some later time.
"""

from django.apps import apps
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.loader import MigrationLoader

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
OWN_APPS = ("providers", "tokens", "conversations", "api", "proxysite")


def require_known_migrations() -> None:
    """Raise CommandError with one line if the database has migrations of a newer release."""
    unknown = find_unknown_migrations()
    if unknown:
        names = ", ".join(unknown[:MOST_NAMED_COLUMNS])
        raise CommandError(
            f"The database is of a newer release: it has {names}, which this one does not know. "
            "Start that release again, or restore a backup from before its first start."
        )


def find_unknown_migrations() -> list[str]:
    """Return `app.name` of every applied migration of our apps that this release lacks."""
    loader = MigrationLoader(connection)
    applied = loader.applied_migrations
    replaced = {key for row in loader.disk_migrations.values() for key in row.replaces}
    return sorted(
        f"{app}.{name}"
        for app, name in applied
        if app in OWN_APPS
        and (app, name) not in loader.disk_migrations
        and (app, name) not in replaced
    )


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
