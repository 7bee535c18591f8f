"""The SQLite database that is copied, read beside Django while nobody can write to it."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from api.usage.folding import fold_records
from proxysite.transfer.values import Value, convert_value

# the full-text index: its words are a text on SQLite, a tsvector on Postgres
WORDS_TABLE = "conversations_words"
BUSY_SECONDS = 20
FETCHED_ROWS = 500
BEFORE_FIRST_ROW = -(2**63)  # a rowid


class SourceDatabase:
    """An SQLite file, locked against writing as long as it is open.

    Its transaction is rolled back in the end: the file stays as it is.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
        )
        self._db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        self._db.rollback()
        self._db.close()

    def fold_usage_records(self) -> None:
        """Add records to the roll-ups that a killed gateway left, as the copy should have them."""
        while fold_records(self._db):
            pass

    def read_columns(self, table: str) -> list[str]:
        """Return the names of a table's columns; none when there is no such table."""
        return [str(row[1]) for row in self._db.execute(f'PRAGMA table_info("{table}")')]

    def read_migrations(self) -> set[tuple[str, str]]:
        return set(self._db.execute("SELECT app, name FROM django_migrations"))

    def count_rows(self, table: str) -> int:
        return int(self._db.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])

    def read_rows(
        self, table: str, columns: Sequence[str], kinds: Sequence[str], after: int
    ) -> Iterator[tuple[int, list[Value]]]:
        """Yield (rowid, values as Postgres takes them) of the rows behind the row `after`.

        Raises ValueError on a value that does not fit its column's type.
        """
        column_list = ", ".join(f'"{column}"' for column in columns)
        statement = f'SELECT rowid, {column_list} FROM "{table}" WHERE rowid > ? ORDER BY rowid'
        cursor = self._db.execute(statement, [after])
        while rows := cursor.fetchmany(FETCHED_ROWS):
            for rowid, *values in rows:
                try:
                    converted = [
                        convert_value(kind, value)
                        for kind, value in zip(kinds, values, strict=True)
                    ]
                except (ValueError, ArithmeticError) as error:
                    raise ValueError(f"{table}, row {rowid}: {error}") from None
                yield rowid, converted
