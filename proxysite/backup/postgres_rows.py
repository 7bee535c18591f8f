"""The rows of a Postgres database: read in one snapshot, written into an empty database.

A row is a line of Postgres' own COPY format (text), with times in UTC.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from proxysite.backup.archive.manifest import TablePlan
from proxysite.command_line import RESTORE_MARK_TABLE

UNREAD_TABLES = frozenset(("django_migrations", RESTORE_MARK_TABLE))
# what the forms of values depend on
FORM_SETTINGS = (
    "SET LOCAL datestyle = 'ISO'",
    "SET LOCAL intervalstyle = 'postgres'",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
)
ALL_TABLES = """
    SELECT c.relname FROM pg_class AS c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition ORDER BY c.relname
"""
ALL_COLUMNS = """
    SELECT column_name, data_type FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = %s AND is_generated = 'NEVER'
    ORDER BY ordinal_position
"""
SEQUENCED_COLUMNS = """
    SELECT c.table_name, pg_get_serial_sequence(quote_ident(c.table_name), c.column_name)
    FROM information_schema.columns AS c
    JOIN information_schema.tables AS t USING (table_schema, table_name)
    WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
    AND (c.is_identity = 'YES' OR c.column_default LIKE 'nextval(%%')
    AND pg_get_serial_sequence(quote_ident(c.table_name), c.column_name) IS NOT NULL
"""
# those of partitions come and go with those of their tables
FOREIGN_KEYS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'f' AND conparentid = 0 AND connamespace = current_schema()::regnamespace
    ORDER BY 1, 2
"""
Connection = Any  # of psycopg


class PostgresRows:
    """A connection in a transaction of its own, for reading and writing."""

    vendor = "postgresql"

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._keys: list[tuple[str, str, str]] = []  # the foreign keys that are set aside

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        # without values psycopg leaves % as it is
        return list(self._db.execute(statement, values or None).fetchall())

    def read_plans(self) -> list[TablePlan]:
        """Return the tables that have rows of their own, in the order of their names."""
        names = [name for (name,) in self.query(ALL_TABLES) if name not in UNREAD_TABLES]
        return [self._read_plan(name) for name in names]

    def _read_plan(self, table: str) -> TablePlan:
        """Return a table with its columns and their types."""
        columns = self.query(ALL_COLUMNS, [table])
        names = tuple(name for name, _ in columns)
        return TablePlan(table, names, tuple(kind for _, kind in columns))

    def read_rows(self, plan: TablePlan) -> Iterator[bytes]:
        """Yield the rows of a table."""
        columns = list_columns(plan)
        statement = f'COPY (SELECT {columns} FROM "{plan.name}") TO STDOUT'
        rest = b""
        with self._db.cursor() as cursor, cursor.copy(statement) as copy:
            for block in copy:  # a row each, though nothing promises that
                *lines, rest = (rest + bytes(block)).split(b"\n")
                for line in lines:
                    yield line + b"\n"


def list_columns(plan: TablePlan) -> str:
    """Return the columns of a table as SQL."""
    return ", ".join(f'"{column}"' for column in plan.columns)


class PostgresSnapshot(PostgresRows):
    """One state of a database, which others go on writing to."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for statement in FORM_SETTINGS:
            self._db.execute(statement)

    def close(self) -> None:
        self._db.execute("ROLLBACK")

    def read_migrations(self) -> list[tuple[str, str]]:
        """Return the applied migrations, as (app, name)."""
        return sorted(self.query("SELECT app, name FROM django_migrations"))

    def read_sequences(self) -> dict[str, int]:
        """Return the highest id that each table has ever had."""
        highest: dict[str, int] = {}
        for table, sequence in self.query(SEQUENCED_COLUMNS):
            ((value, is_called),) = self.query(f"SELECT last_value, is_called FROM {sequence}")
            if is_called:
                highest[table] = value
        return highest


class PostgresLoader(PostgresRows):
    """A database with empty tables that is filled in one transaction."""

    def begin(self) -> None:
        """Set triggers and foreign keys aside, and delete all rows."""
        self._db.execute("BEGIN")
        for statement in FORM_SETTINGS:
            self._db.execute(statement)
        self._keys = self.query(FOREIGN_KEYS)
        for table, name, _ in self._keys:
            self._db.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        for plan in self.read_plans():
            self._db.execute(f'ALTER TABLE "{plan.name}" DISABLE TRIGGER USER')
            self._db.execute(f'DELETE FROM "{plan.name}"')

    def write_rows(self, plan: TablePlan, lines: Iterable[bytes]) -> None:
        """Write rows. Raises psycopg.Error."""
        statement = f'COPY "{plan.name}" ({list_columns(plan)}) FROM STDIN'
        with self._db.cursor() as cursor, cursor.copy(statement) as copy:
            for line in lines:
                copy.write(line)

    def finish(self, sequences: dict[str, int]) -> None:
        """Set the sequences, restore foreign keys and triggers, and commit.

        Postgres checks every foreign key.
        """
        for table, sequence in self.query(SEQUENCED_COLUMNS):
            if table in sequences:
                self._db.execute("SELECT setval(%s::regclass, %s)", [sequence, sequences[table]])
        for table, name, definition in self._keys:
            self._db.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
        for plan in self.read_plans():
            self._db.execute(f'ALTER TABLE "{plan.name}" ENABLE TRIGGER USER')
        self._db.execute(f"DROP TABLE IF EXISTS {RESTORE_MARK_TABLE}")
        self._db.execute("COMMIT")
        self._db.execute("ANALYZE")

    def close(self) -> None:
        """Roll back what is not finished."""
        self._db.rollback()
