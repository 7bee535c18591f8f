"""The Postgres database that is copied into, with notes that make a copy resumable.

The table `proxysite_copy` exists from the first row to the end of a copy. It holds the position of
each table, and the foreign keys that are restored at the end. While it exists no gateway starts on
this database.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections, transaction

from proxysite.transfer.source import WORDS_TABLE
from proxysite.transfer.values import Value, digest_rows

TARGET_ALIAS = "copy_target"
COPY_NOTES_TABLE = "proxysite_copy"
NOT_COPIED = ("django_migrations", COPY_NOTES_TABLE)
TABLES_FILLED_BY_MIGRATE = (
    "django_content_type",
    "auth_permission",
    "providers_revision",
    "django_celery_beat_periodictasks",
    # the ready-made roles
    "auth_group",
    "auth_group_permissions",
    "proxysite_role",
)
FETCHED_ROWS = 2_000
Row = Sequence[Value]


class TargetDatabase:
    """A Postgres database, through the Django connection TARGET_ALIAS."""

    def __init__(self) -> None:
        self._connection = connections[TARGET_ALIAS]

    # --- tables and columns ---------------------------------------------------------------------
    def read_tables(self) -> list[str]:
        """Return the names of all tables but those that only Django and this copy keep."""
        return sorted(set(self._connection.introspection.table_names()) - set(NOT_COPIED))

    def has_notes(self) -> bool:
        return COPY_NOTES_TABLE in self._connection.introspection.table_names()

    def find_filled_tables(self, tables: Sequence[str]) -> list[str]:
        """Return those of the tables that have rows."""
        statement = 'SELECT EXISTS (SELECT 1 FROM "{}")'
        return [table for table in tables if self.fetch_rows(statement.format(table))[0][0]]

    def read_kinds(self, table: str) -> dict[str, str]:
        """Return the type of each column that is not computed, by its name."""
        rows = self.fetch_rows(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = "
            "current_schema()"
            " AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
            [table],
        )
        return dict(rows)

    def read_migrations(self) -> set[tuple[str, str]]:
        return set(self.fetch_rows("SELECT app, name FROM django_migrations"))

    def fetch_rows(self, statement: str, values: Row = ()) -> list[tuple[Value, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Value, ...]] = cursor.fetchall()
            return rows

    def run_statements(self, *statements: str) -> None:
        with self._connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    # --- notes ----------------------------------------------------------------------------------
    def begin_copy(self, tables: Sequence[str], source_name: str) -> None:
        """Create the notes, set triggers and foreign keys aside, and empty the tables.

        All of it is one transaction. Foreign keys are kept in the notes, triggers are disabled.
        """
        keys = self.fetch_rows(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
        )
        with transaction.atomic(using=TARGET_ALIAS), self._connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TABLE {COPY_NOTES_TABLE} (kind text, name text, position bigint, "
                "detail text, PRIMARY KEY (kind, name))"
            )
            columns = "kind, name, position, detail"
            add_note = f"INSERT INTO {COPY_NOTES_TABLE} ({columns}) VALUES (%s, %s, %s, %s)"
            cursor.execute(add_note, ["source", "", None, source_name])
            for table, name, definition in keys:
                cursor.execute(add_note, ["key", f"{table} {name}", None, definition])
                cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
            for table in tables:
                cursor.execute(f'ALTER TABLE "{table}" DISABLE TRIGGER USER')
                cursor.execute(f'DELETE FROM "{table}"')

    def read_source_name(self) -> str:
        return str(
            self.fetch_rows(f"SELECT detail FROM {COPY_NOTES_TABLE} WHERE kind = 'source'")[0][0]
        )

    def read_position(self, table: str) -> int | None:
        """Return the position in the source of a table's last copied row; None before the first."""
        rows = self.fetch_rows(
            f"SELECT position FROM {COPY_NOTES_TABLE} WHERE kind = 'table' AND name = %s",
            [table],
        )
        return int(rows[0][0]) if rows else None

    def finish_copy(self, tables: Sequence[str]) -> None:
        """Restore foreign keys and triggers, and drop the notes, in one transaction.

        Postgres checks every foreign key.
        """
        keys = self.fetch_rows(
            f"SELECT name, detail FROM {COPY_NOTES_TABLE} WHERE kind = 'key' ORDER BY name"
        )
        with transaction.atomic(using=TARGET_ALIAS), self._connection.cursor() as cursor:
            for table_and_key, definition in keys:
                table, _, name = table_and_key.partition(" ")
                cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
            for table in tables:
                cursor.execute(f'ALTER TABLE "{table}" ENABLE TRIGGER USER')
            cursor.execute(f"DROP TABLE {COPY_NOTES_TABLE}")

    # --- rows -----------------------------------------------------------------------------------
    def write_slice(
        self, table: str, columns: Sequence[str], rows: Sequence[Row], last_position: int
    ) -> None:
        """Write rows and the table's new position in one transaction."""
        column_list = ", ".join(f'"{column}"' for column in columns)
        with transaction.atomic(using=TARGET_ALIAS), self._connection.cursor() as cursor:
            if table == WORDS_TABLE:
                values = "%s, %s, array_to_tsvector(%s::text[])"
                statement = f"INSERT INTO {WORDS_TABLE} ({column_list}) VALUES ({values})"
                cursor.executemany(statement, rows)
            else:
                stream_rows(cursor, f'COPY "{table}" ({column_list}) FROM STDIN', rows)
            cursor.execute(
                f"INSERT INTO {COPY_NOTES_TABLE} (kind, name, position) VALUES ('table', %s, %s)"
                " ON CONFLICT (kind, name) DO UPDATE SET position = excluded.position",
                [table, last_position],
            )

    def set_sequences(self, tables: Sequence[str]) -> None:
        """Set each sequence of ids to go on behind the highest id."""
        rows = self.fetch_rows(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema "
            "= current_schema()"
            " AND (is_identity = 'YES' OR column_default LIKE 'nextval(%%')"
        )
        for table, column in rows:
            if table in tables:
                self.run_statements(
                    f"SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'),"
                    f' coalesce(max("{column}"), 1), max("{column}") IS NOT NULL) FROM "{table}"'
                )

    def digest_table(
        self, table: str, columns: Sequence[str], kinds: Sequence[str]
    ) -> tuple[int, str]:
        """Return the number of rows and their digest (`digest_rows`)."""
        return digest_rows(kinds, self._read_rows(table, columns, kinds))

    def _read_rows(
        self, table: str, columns: Sequence[str], kinds: Sequence[str]
    ) -> Iterator[tuple[Value, ...]]:
        expressions = ", ".join(
            COMPARED_FORMS.get(kind, '"{}"').format(column)
            for column, kind in zip(columns, kinds, strict=True)
        )
        with (
            transaction.atomic(using=TARGET_ALIAS),
            self._connection.connection.cursor(name="copied") as cursor,
        ):
            cursor.itersize = FETCHED_ROWS
            cursor.execute(f'SELECT {expressions} FROM "{table}"')
            yield from cursor

    def analyze_tables(self) -> None:
        """Update the statistics of the query planner."""
        self.run_statements("ANALYZE")


def stream_rows(cursor: Any, statement: str, rows: Sequence[Row]) -> None:
    """Send rows to a COPY statement."""
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


# how a column of this type is read for the comparison; others are read as they are
COMPARED_FORMS = {
    "jsonb": '"{}"::text',
    "inet": 'host("{}")',
    "tsvector": 'tsvector_to_array("{}")',
}
