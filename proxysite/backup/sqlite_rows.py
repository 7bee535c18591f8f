"""The rows of an SQLite database: read in one snapshot, written into an empty database.

A row is a line of JSON, an array of its values as SQLite has them. Bytes are `{"b": base64}`, and
numbers that JSON cannot write are `{"f": "inf"}`.
"""

import math
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from proxysite.backup.archive.manifest import TablePlan

BUSY_SECONDS = 20
FETCHED_ROWS = 500
UNREAD_TABLES = frozenset(("django_migrations",))
CACHE_KIB = 65_536
# triggers, and the indexes that are not part of their tables
SET_ASIDE = "SELECT type, name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL"
WORDS_INDEX = "conversations_words_index"
encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(list[Any])


# --- values -------------------------------------------------------------------------------------
def encode_row(values: Sequence[Any]) -> bytes:
    """Return a row as a line of JSON."""
    types = set(map(type, values))
    if bytes in types or float in types:
        values = [wrap_value(value) for value in values]
    return encoder.encode(values) + b"\n"


def decode_row(line: bytes) -> list[Any]:
    """Return the values of a row. Raises ValueError."""
    values = decoder.decode(line)
    if b"{" in line:
        return [unwrap_value(value) if isinstance(value, dict) else value for value in values]
    return values


def wrap_value(value: Any) -> Any:
    """Return a value in the form that JSON can write."""
    if isinstance(value, bytes):
        return {"b": b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"f": str(value)}
    return value


def unwrap_value(value: dict[str, str]) -> bytes | float:
    """Return the bytes or the number that `wrap_value` has wrapped. Raises ValueError."""
    if "b" in value:
        return b64decode(value["b"], validate=True)
    return float(value["f"])


# --- a database ---------------------------------------------------------------------------------
class SqliteSnapshot:
    """One state of an SQLite file, which others go on writing to.

    In WAL mode a reader keeps the state of its first query, and nobody waits for it.
    """

    vendor = "sqlite"

    def __init__(self, path: Path) -> None:
        self._db = connect_file(path)
        self._db.execute("PRAGMA query_only=ON")
        self._db.execute("BEGIN")
        self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def close(self) -> None:
        self._db.rollback()
        self._db.close()

    def read_migrations(self) -> list[tuple[str, str]]:
        """Return the applied migrations, as (app, name)."""
        return sorted(self._db.execute("SELECT app, name FROM django_migrations"))

    def read_plans(self) -> list[TablePlan]:
        return read_plans(self._db)

    def read_sequences(self) -> dict[str, int]:
        """Return the highest id that each table has ever had."""
        return dict(self._db.execute("SELECT name, seq FROM sqlite_sequence"))

    def read_rows(self, plan: TablePlan) -> Iterator[bytes]:
        """Yield the encoded rows of a table."""
        return read_rows(self._db, plan)

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(statement.replace("%s", "?"), values).fetchall()


def connect_file(path: Path) -> sqlite3.Connection:
    """Return a connection to an SQLite file that exists. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )


def read_plans(db: sqlite3.Connection) -> list[TablePlan]:
    """Return the tables that have rows of their own, in the order of their names.

    Virtual tables, and those in which they keep their data, are made of other tables.
    """
    tables = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    virtual = [name for name, sql in tables.items() if sql and sql.startswith("CREATE VIRTUAL")]
    left_out = (*virtual, *(f"{name}_" for name in virtual), "sqlite_")
    names = [name for name in tables if not name.startswith(left_out) and name not in UNREAD_TABLES]
    return [TablePlan(name, read_columns(db, name)) for name in sorted(names)]


def read_columns(db: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """Return the names of the columns that are not computed."""
    rows = db.execute(f'PRAGMA table_xinfo("{table}")').fetchall()
    return tuple(str(row[1]) for row in rows if row[6] == 0)


def read_rows(db: sqlite3.Connection, plan: TablePlan) -> Iterator[bytes]:
    """Yield the encoded rows of a table."""
    column_list = ", ".join(f'"{column}"' for column in plan.columns)
    cursor = db.execute(f'SELECT {column_list} FROM "{plan.name}"')
    while rows := cursor.fetchmany(FETCHED_ROWS):
        yield from map(encode_row, rows)


class SqliteLoader:
    """An SQLite file with empty tables, which is filled and then used.

    While it is filled nothing protects it against a crash: it is thrown away then.
    """

    vendor = "sqlite"

    def __init__(self, path: Path) -> None:
        self._db = connect_file(path)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        self._statements: list[str] = []  # they make again what is set aside

    def begin(self) -> None:
        """Set triggers and indexes aside, and delete all rows.

        An index is made in a fraction of the time when all rows are there.
        """
        self._db.execute("BEGIN")
        for kind in ("index", "trigger"):
            for _, name, statement in self._db.execute(SET_ASIDE, [kind]).fetchall():
                self._db.execute(f'DROP {kind} "{name}"')
                self._statements.append(statement)
        for plan in read_plans(self._db):
            self._db.execute(f'DELETE FROM "{plan.name}"')

    def read_plans(self) -> list[TablePlan]:
        return read_plans(self._db)

    def write_rows(self, plan: TablePlan, lines: Iterable[bytes]) -> None:
        """Write rows. Raises ValueError, sqlite3.Error."""
        column_list = ", ".join(f'"{column}"' for column in plan.columns)
        marks = ", ".join("?" * len(plan.columns))
        statement = f'INSERT INTO "{plan.name}" ({column_list}) VALUES ({marks})'
        self._db.executemany(statement, map(decode_row, lines))

    def read_rows(self, plan: TablePlan) -> Iterator[bytes]:
        return read_rows(self._db, plan)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self._db.execute(statement).fetchall()

    def finish(self, sequences: dict[str, int]) -> None:
        """Set the sequences, make indexes and triggers, and commit."""
        for table, highest in sequences.items():
            self._db.execute("DELETE FROM sqlite_sequence WHERE name = ?", [table])
            self._db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", [table, highest])
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [WORDS_INDEX]).fetchone():
            self._db.execute(f"INSERT INTO {WORDS_INDEX} ({WORDS_INDEX}) VALUES ('rebuild')")
        for statement in self._statements:
            self._db.execute(statement)
        self._db.execute("COMMIT")
        self._db.execute("PRAGMA journal_mode=WAL")

    def close(self) -> None:
        """Close the file, which is worthless if it was not finished."""
        self._db.close()
