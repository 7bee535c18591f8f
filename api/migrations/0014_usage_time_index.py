"""Postgres finds the usage records of a span of time, without a lock for requests meanwhile.

Records are written nearly in the order of time, so that a tiny index of ranges of pages (BRIN) is
enough. SQLite has none, and there an ordinary index would cost each record more than it saves.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def create_index(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        # an attempt that was cut short leaves an index that cannot be used
        cursor.execute("DROP INDEX CONCURRENTLY IF EXISTS usage_started_at")
        cursor.execute(
            "CREATE INDEX CONCURRENTLY usage_started_at ON api_usagerecord "
            "USING brin (started_at) WITH (pages_per_range = 32)"
        )
        cursor.execute("RESET statement_timeout")


def drop_index(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX CONCURRENTLY IF EXISTS usage_started_at")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("api", "0013_usage_rollups")]

    operations = [migrations.RunPython(create_index, drop_index)]
