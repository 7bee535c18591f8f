"""Usage records name the caller's program, and failed ones are found by their error code.

The column has a default in the database, so that neither database writes the table anew. The
index has failed records alone; on Postgres it is created without a lock for requests meanwhile.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

INDEX = "usage_error_code"
INDEXED = "api_usagerecord (error_code, id DESC) WHERE NOT (status = 'complete')"


def add_client(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Add the column, unless an attempt that was cut short has added it."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, "api_usagerecord")
    if any(column.name == "client" for column in columns):
        return
    schema_editor.execute(
        "ALTER TABLE api_usagerecord ADD COLUMN client varchar(32) DEFAULT '' NOT NULL"
    )


def remove_client(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute("ALTER TABLE api_usagerecord DROP COLUMN client")


def create_index(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.execute(f"CREATE INDEX {INDEX} ON {INDEXED}")
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        # an attempt that was cut short leaves an index that cannot be used
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        cursor.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON {INDEXED}")
        cursor.execute("RESET statement_timeout")


def drop_index(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute(f"DROP INDEX IF EXISTS {INDEX}")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("api", "0020_usage_slots")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add_client, remove_client)],
            [
                migrations.AddField(
                    "usagerecord",
                    "client",
                    models.CharField(
                        blank=True,
                        db_default="",
                        help_text="The caller's program, for example <code>Codex</code>, by its "
                        "User-Agent header.",
                        max_length=32,
                    ),
                )
            ],
        ),
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(create_index, drop_index)],
            [
                migrations.AddIndex(
                    "usagerecord",
                    models.Index(
                        fields=["error_code", "-id"],
                        condition=~models.Q(status="complete"),
                        name=INDEX,
                    ),
                )
            ],
        ),
    ]
