"""How usage rows get into the database: one transaction per batch, over a connection of the ledger's own.

A row is a list of values in the order of COLUMNS; ids are UUIDs as 32 hex digits, times ISO 8601, attempts a list.
`write` returns when the batch is committed; inserting an id twice changes nothing. Raises
WriteFailed, RowsRefused.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable
from queue import SimpleQueue
from typing import Any, Protocol

import orjson
from django.conf import settings
from django.db import connection

from api.spool import Row
from providers.patience import Patience

COLUMNS = (
    *("id", "started_at", "key_id", "user_id", "provider_id", "token_id", "endpoint", "model", "stream", "status"),
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
ATTEMPTS = COLUMNS.index("attempts")
TABLE = "api_usagerecord"
NAMES = ", ".join(COLUMNS)
NO_ROW = (TypeError, ValueError, OverflowError)  # what a driver raises on a value that it cannot send


class WriteFailed(Exception):
    """The database did not take the rows, or did not say so in time."""


class RowsRefused(Exception):
    """The database answers, but a row of the batch is not one it can take; none was written."""


def refuse_misshapen(rows: list[Row]) -> None:
    """Raise RowsRefused unless every row has the columns of this version."""
    if any(len(row) != len(COLUMNS) for row in rows):
        raise RowsRefused("a row has not the columns of this version")


class Writer(Protocol):
    def write(self, rows: list[Row]) -> Awaitable[None]: ...
    def close(self) -> Awaitable[None]: ...


class SqliteWriter:
    """One thread with one connection; `executemany` inside BEGIN IMMEDIATE … COMMIT."""

    INSERT = f"INSERT INTO {TABLE} ({NAMES}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self._path, self._timeout = path, timeout_seconds
        self._connection: sqlite3.Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._batches: SimpleQueue[tuple[list[Row] | None, asyncio.Future[None]]] = SimpleQueue()
        threading.Thread(target=self._work, name="ledger", daemon=True).start()

    def write(self, rows: list[Row]) -> "asyncio.Future[None]":
        return self._ask(rows)

    def close(self) -> "asyncio.Future[None]":
        return self._ask(None)

    def _ask(self, rows: list[Row] | None) -> "asyncio.Future[None]":
        done = self._loop.create_future()
        self._batches.put((rows, done))
        return done

    def _work(self) -> None:
        """The thread: a queue and one callback per batch cost half of what an executor's futures do."""
        while True:
            rows, done = self._batches.get()
            problem: Exception | None = None
            if rows is None:
                self._drop()
            else:
                try:
                    self._write(rows)
                except (WriteFailed, RowsRefused) as error:
                    problem = error
            self._loop.call_soon_threadsafe(_settle, done, problem)
            if rows is None:
                return

    def _write(self, rows: list[Row]) -> None:
        refuse_misshapen(rows)
        try:
            db = self._connection or self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany(self.INSERT, [self._values(row) for row in rows])
                db.execute("COMMIT")
            except (sqlite3.Error, *NO_ROW):
                db.execute("ROLLBACK")
                raise
        except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, *NO_ROW) as error:
            raise RowsRefused(str(error)) from error
        except sqlite3.Error as error:
            self._drop()
            raise WriteFailed(str(error)) from error

    def _open(self) -> sqlite3.Connection:
        uri = self._path.startswith("file:")
        db = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, uri=uri)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        self._connection = db
        return db

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _values(row: Row) -> Row:
        values = list(row)
        values[ATTEMPTS] = orjson.dumps(row[ATTEMPTS]).decode()
        values[1] = row[1].replace("T", " ").removesuffix("+00:00")
        return values


def _settle(done: "asyncio.Future[None]", problem: Exception | None) -> None:
    if done.done():
        return
    if problem is None:
        done.set_result(None)
    else:
        done.set_exception(problem)


class PostgresWriter:
    """An async connection; COPY for a batch, and INSERT … ON CONFLICT when a row of it may be there already."""

    COPY = f"COPY {TABLE} ({NAMES}) FROM STDIN"
    INSERT = f"INSERT INTO {TABLE} ({NAMES}) VALUES ({', '.join(['%s'] * len(COLUMNS))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608
    ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

    def __init__(self, parameters: dict[str, Any], timeout_seconds: float) -> None:
        self._parameters = parameters
        self._patience = Patience(timeout_seconds)
        self._connection: Any = None

    async def write(self, rows: list[Row]) -> None:
        import psycopg

        refuse_misshapen(rows)
        try:
            db = self._connection or await self._open()
            try:
                await self._patience.wait(self._copy(db, rows), db.close)
            except psycopg.errors.UniqueViolation:
                await self._patience.wait(self._insert(db, rows), db.close)
        except (psycopg.DataError, psycopg.IntegrityError, *NO_ROW) as error:
            raise RowsRefused(str(error)) from error
        except (TimeoutError, asyncio.CancelledError) as error:
            self._connection = None  # it is closed when what is late has ended
            if isinstance(error, asyncio.CancelledError):
                raise
            raise WriteFailed("the database does not answer") from error
        except (psycopg.Error, OSError) as error:
            await self._drop()
            raise WriteFailed(str(error) or type(error).__name__) from error

    async def _open(self) -> Any:
        import psycopg

        self._connection = await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True)
        return self._connection

    async def _copy(self, db: Any, rows: list[Row]) -> None:
        async with db.cursor().copy(self.COPY) as copy:
            await copy.write("".join(map(self._line, rows)))

    async def _insert(self, db: Any, rows: list[Row]) -> None:
        await db.cursor().executemany(self.INSERT, [self._values(row) for row in rows])

    def _line(self, row: Row) -> str:
        return "\t".join(map(self._text, row)) + "\n"

    def _text(self, value: Any) -> str:
        if value is None:
            return "\\N"
        if isinstance(value, str):
            return value.translate(self.ESCAPES) if "\\" in value or not value.isprintable() else value
        if isinstance(value, list):
            return orjson.dumps(value).decode().replace("\\", "\\\\")
        return str(value)

    @staticmethod
    def _values(row: Row) -> Row:
        values = list(row)
        values[ATTEMPTS] = orjson.dumps(row[ATTEMPTS]).decode()
        return values

    async def close(self) -> None:
        await self._patience.end()
        await self._drop()

    async def _drop(self) -> None:
        if self._connection is not None:
            db, self._connection = self._connection, None
            await db.close()


def writer() -> Writer:
    """The one for the configured database."""
    timeout = settings.DATABASE_TIMEOUT_SECONDS
    if connection.vendor == "sqlite":
        return SqliteWriter(str(connection.settings_dict["NAME"]), timeout)
    parameters = {
        name: value for name, value in connection.get_connection_params().items() if name in POSTGRES_PARAMETERS
    }
    return PostgresWriter(parameters, timeout)


POSTGRES_PARAMETERS = frozenset(
    """
    dbname user password host port options connect_timeout tcp_user_timeout sslmode sslrootcert sslcert sslkey service
    """.split()
)
