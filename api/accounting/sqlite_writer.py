"""The writer of usage records for SQLite: one thread with one connection.

It also adds the records to the roll-ups, many at once (`api/usage/folding.py`): in the transaction
of a batch, or in one of its own when no batch follows and when it is closed.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue

from api.accounting.spool import Row
from api.accounting.usage_table import (
    CONVERSION_ERRORS,
    STARTED_AT_INDEX,
    build_insert_sql,
    convert_rows,
    encode_attempts,
)
from api.accounting.write_errors import RowsRefused, WriteFailed, is_disk_full
from api.usage.folding import RecordFolder
from providers.queued_sqlite3.write_queue import write_queue

logger = logging.getLogger(__name__)

LEAST_FREE_BYTES = 64 * 2**10
REFUSAL_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,  # a value of a type that SQLite does not have
    *CONVERSION_ERRORS,
)


class SqliteWriter:
    """The writer for SQLite; it runs `executemany` between BEGIN IMMEDIATE and COMMIT."""

    INSERT_SQL = build_insert_sql("?")

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._connection: sqlite3.Connection | None = None
        self._folder = RecordFolder()
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
            try:
                rows, done = self._batches.get(timeout=self._idle_seconds())
            except Empty:
                self._fold_records()
                continue
            problem = self._write_or_close(rows)
            try:
                self._loop.call_soon_threadsafe(_resolve_future, done, problem)
            except RuntimeError:  # the loop is closed, so nobody waits any more
                self._close_connection()
                return
            if rows is None:
                return

    def _write_or_close(self, rows: list[Row] | None) -> WriteFailed | RowsRefused | None:
        """Write a batch, or close the connection when `rows` is None; return the error."""
        try:
            if rows is None:
                self._folder.make_due()
                self._fold_records()
                self._close_connection()
            else:
                self._write_batch(rows)
        except (WriteFailed, RowsRefused) as error:
            return error
        except Exception as error:  # the ledger waits for the answer of this thread
            logger.exception("the ledger's thread met an error that it did not expect")
            self._close_connection()
            return WriteFailed(f"{type(error).__name__}: {error}")
        return None

    def _write_batch(self, rows: list[Row]) -> None:
        try:
            values = convert_rows(rows, self._row_values)
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
            disk = os.statvfs(os.path.dirname(self._path) or ".")
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < LEAST_FREE_BYTES

    def _idle_seconds(self) -> float | None:
        """Return how long to wait for a batch; None: until one comes."""
        return self._folder.pause_seconds if self._connection is not None else None

    def _fold_records(self) -> None:
        """Add new records to the roll-ups in a transaction of its own; a later one tries again."""
        db = self._connection
        if db is None or self._folder.pause_seconds is None:
            return
        try:
            self._insert_rows(db, [])
        except (sqlite3.Error, OSError, MemoryError) as error:
            logger.warning("the roll-ups of usage records wait: %s", error)
            self._folder.postpone()

    def _insert_rows(self, db: sqlite3.Connection, values: list[Row]) -> None:
        """Write rows, and the roll-ups of all new records if it is time, in one transaction."""
        with write_queue.hold_lock(self._timeout_seconds, first=True):
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany(self.INSERT_SQL, values)
                self._folder.fold_if_due(db)
                db.execute("COMMIT")
            except BaseException:  # whatever ends the write, other writers wait for the lock
                if db.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    db.execute("ROLLBACK")
                raise

    def _open_connection(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path,
            timeout=self._timeout_seconds,
            isolation_level=None,
            check_same_thread=False,
            uri=self._path.startswith("file:"),
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
        """Return the values as Django stores them: JSON texts, times without an offset."""
        values = encode_attempts(row)
        started_at: str = row[STARTED_AT_INDEX]
        values[STARTED_AT_INDEX] = started_at.replace("T", " ").removesuffix("+00:00")
        return values


def _resolve_future(future: "asyncio.Future[None]", error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
