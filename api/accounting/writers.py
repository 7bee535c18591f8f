"""The writers of usage records: one transaction per batch, on the ledger's own connection.

A row is a list of values in the order of COLUMNS; ids are UUIDs as 32 hex digits, times ISO 8601,
attempts a list. `write_rows` returns when the batch is committed. Inserting an id twice changes
nothing. Only WriteFailed and RowsRefused are raised: on any error the transaction is rolled back
and the waiting caller gets an answer. Values are converted before the transaction begins, so that a
row of the wrong kind never holds the write lock.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import orjson
from django.conf import settings
from django.db import connection

from api.accounting.spool import Row
from api.accounting.write_errors import RowsRefused, WriteFailed, is_disk_full
from providers.database.deadlines import TimeLimit
from providers.queued_sqlite3.write_queue import write_queue

logger = logging.getLogger(__name__)

T = TypeVar("T")
LEAST_FREE_BYTES = 64 * 2**10
COLUMNS = (
    *(
        "id",
        "started_at",
        "key_id",
        "user_id",
        "provider_id",
        "token_id",
        "endpoint",
        "model",
        "stream",
        "status",
    ),
    *(
        "http_status",
        "error_code",
        "attempts",
        "prompt_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "cached_tokens",
    ),
    *("estimated", "queue_ms", "connect_ms", "first_byte_ms", "total_ms"),
)
ATTEMPTS_INDEX = COLUMNS.index("attempts")
TABLE = "api_usagerecord"
COLUMN_NAMES = ", ".join(COLUMNS)
SKIP_EXISTING = "ON CONFLICT (id) DO NOTHING"  # a row that exists is left unchanged
CONVERSION_ERRORS = (
    TypeError,
    ValueError,
    OverflowError,
)  # raised by drivers on a value that they cannot send
REFUSAL_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,  # a value of a type that SQLite does not have
    *CONVERSION_ERRORS,
)


def require_column_count(rows: list[Row]) -> None:
    """Raise RowsRefused unless every row has as many values as COLUMNS."""
    if any(len(row) != len(COLUMNS) for row in rows):
        raise RowsRefused("a row has not the columns of this version")


def convert_rows(rows: list[Row], convert_row: Callable[[Row], T]) -> list[T]:
    """Return each row as `convert_row` makes it for a driver.

    Raises RowsRefused on any error in a row.
    """
    require_column_count(rows)
    try:
        return [convert_row(row) for row in rows]
    except Exception as error:
        raise RowsRefused(f"{type(error).__name__}: {error}") from error


class Writer(Protocol):
    def write_rows(self, rows: list[Row]) -> Awaitable[None]: ...
    def close(self) -> Awaitable[None]: ...


class SqliteWriter:
    """The writer for SQLite: one thread with one connection.

    It runs `executemany` between BEGIN IMMEDIATE and COMMIT.
    """

    PLACEHOLDERS = ", ".join("?" * len(COLUMNS))
    INSERT_SQL = f"INSERT INTO {TABLE} ({COLUMN_NAMES}) VALUES ({PLACEHOLDERS}) {SKIP_EXISTING}"  # noqa: S608

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._connection: sqlite3.Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._batches: SimpleQueue[tuple[list[Row] | None, asyncio.Future[None]]] = SimpleQueue()
        threading.Thread(target=self._write_batches, name="ledger", daemon=True).start()

    def write_rows(self, rows: list[Row]) -> "asyncio.Future[None]":
        return self._queue_batch(rows)

    def close(self) -> "asyncio.Future[None]":
        return self._queue_batch(None)

    def _queue_batch(self, rows: list[Row] | None) -> "asyncio.Future[None]":
        done = self._loop.create_future()
        self._batches.put((rows, done))
        return done

    def _write_batches(self) -> None:
        """Write the batches of the queue one after the other, in the writer's own thread.

        A queue and one callback per batch cost half as much as the futures of an executor.
        """
        while True:
            rows, done = self._batches.get()
            problem: Exception | None = None
            try:
                if rows is None:
                    self._close_connection()
                else:
                    self._write_batch(rows)
            except (WriteFailed, RowsRefused) as error:
                problem = error
            except Exception as error:
                logger.exception("the ledger's thread met an error that it did not expect")
                self._close_connection()
                problem = WriteFailed(f"{type(error).__name__}: {error}")
            try:
                self._loop.call_soon_threadsafe(_resolve_future, done, problem)
            except RuntimeError:  # the loop is closed, so nobody waits any more
                self._close_connection()
                return
            if rows is None:
                return

    def _write_batch(self, rows: list[Row]) -> None:
        values = convert_rows(rows, self._row_values)
        try:
            db = self._connection or self._open_connection()
            self._insert_rows(db, values)
        except REFUSAL_ERRORS as error:
            raise RowsRefused(str(error)) from error
        except (sqlite3.Error, OSError, MemoryError) as error:
            self._close_connection()
            disk_full = is_disk_full(error) or self._has_no_disk_space()
            raise WriteFailed(str(error) or type(error).__name__, disk_full=disk_full) from error

    def _has_no_disk_space(self) -> bool:
        """Return whether the disk of the database file is full.

        SQLite reports a full disk as an I/O error when it concerns its index.
        """
        try:
            found = os.statvfs(os.path.dirname(self._path) or ".")
        except OSError:
            return False
        return found.f_bavail * found.f_frsize < LEAST_FREE_BYTES

    def _insert_rows(self, db: sqlite3.Connection, values: list[Row]) -> None:
        with write_queue.hold_lock(self._timeout_seconds, first=True):
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany(self.INSERT_SQL, values)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    db.execute("ROLLBACK")
                raise

    def _open_connection(self) -> sqlite3.Connection:
        uri = self._path.startswith("file:")
        db = sqlite3.connect(
            self._path,
            timeout=self._timeout_seconds,
            isolation_level=None,
            check_same_thread=False,
            uri=uri,
        )
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        self._connection = db
        return db

    def _close_connection(self) -> None:
        db = self._connection
        self._connection = None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    @staticmethod
    def _row_values(row: Row) -> Row:
        values = list(row)
        values[ATTEMPTS_INDEX] = orjson.dumps(row[ATTEMPTS_INDEX]).decode()
        values[1] = row[1].replace("T", " ").removesuffix("+00:00")
        return values


def _resolve_future(future: "asyncio.Future[None]", error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class PostgresWriter:
    """The writer for Postgres: an async connection and COPY.

    A batch with a row that already exists is written with INSERT … ON CONFLICT instead.
    """

    COPY_SQL = f"COPY {TABLE} ({COLUMN_NAMES}) FROM STDIN"
    PLACEHOLDERS = ", ".join(["%s"] * len(COLUMNS))
    INSERT_SQL = f"INSERT INTO {TABLE} ({COLUMN_NAMES}) VALUES ({PLACEHOLDERS}) {SKIP_EXISTING}"  # noqa: S608
    ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

    def __init__(self, parameters: dict[str, Any], timeout_seconds: float) -> None:
        self._parameters = parameters
        self._patience = TimeLimit(timeout_seconds)
        self._connection: Any = None

    async def write_rows(self, rows: list[Row]) -> None:
        import psycopg

        lines = convert_rows(rows, self._format_line)
        try:
            db = self._connection or await self._open_connection()
            try:
                await self._patience.wait_for_work(self._copy_lines(db, lines), db)
            except psycopg.errors.UniqueViolation:
                values = convert_rows(rows, self._row_values)
                await self._patience.wait_for_work(self._insert_rows(db, values), db)
        except (psycopg.DataError, psycopg.IntegrityError, *CONVERSION_ERRORS) as error:
            raise RowsRefused(str(error)) from error
        except (TimeoutError, asyncio.CancelledError) as error:
            self._connection = None  # Patience closes it when the late call has ended
            if isinstance(error, asyncio.CancelledError):
                raise
            raise WriteFailed("the database does not answer") from error
        except RowsRefused:
            raise
        except Exception as error:
            if not isinstance(error, psycopg.Error | OSError):
                logger.exception("the ledger's writer met an error that it did not expect")
            await self._close_connection()
            message = str(error) or type(error).__name__
            raise WriteFailed(message, disk_full=is_disk_full(error)) from error

    async def _open_connection(self) -> Any:
        import psycopg

        self._connection = await psycopg.AsyncConnection.connect(
            **self._parameters, autocommit=True
        )
        return self._connection

    async def _copy_lines(self, db: Any, lines: list[str]) -> None:
        async with db.cursor().copy(self.COPY_SQL) as copy:
            await copy.write("".join(lines))

    async def _insert_rows(self, db: Any, values: list[Row]) -> None:
        await db.cursor().executemany(self.INSERT_SQL, values)

    def _format_line(self, row: Row) -> str:
        return "\t".join(map(self._format_value, row)) + "\n"

    def _format_value(self, value: Any) -> str:
        if value is None:
            return "\\N"
        if isinstance(value, str):
            return (
                value.translate(self.ESCAPES) if "\\" in value or not value.isprintable() else value
            )
        if isinstance(value, list):
            return orjson.dumps(value).decode().replace("\\", "\\\\")
        return str(value)

    @staticmethod
    def _row_values(row: Row) -> Row:
        values = list(row)
        values[ATTEMPTS_INDEX] = orjson.dumps(row[ATTEMPTS_INDEX]).decode()
        return values

    async def close(self) -> None:
        await self._patience.end_late_work()
        await self._close_connection()

    async def _close_connection(self) -> None:
        db = self._connection
        self._connection = None
        if db is not None:
            with suppress(Exception):  # the connection is not used again
                await db.close()


def make_writer() -> Writer:
    """Return the writer for the configured database."""
    timeout = settings.DATABASE_TIMEOUT_SECONDS
    if connection.vendor == "sqlite":
        return SqliteWriter(str(connection.settings_dict["NAME"]), timeout)
    parameters = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in POSTGRES_PARAMETERS
    }
    return PostgresWriter(parameters, timeout)


POSTGRES_PARAMETERS = frozenset(
    """
    dbname user password host port options connect_timeout tcp_user_timeout sslmode sslrootcert
    sslcert sslkey service application_name
    """.split()
)
