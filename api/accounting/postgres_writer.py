"""The writer of usage records for Postgres: an async connection and COPY."""

import asyncio
import logging
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from api.accounting.spool import Row
from api.accounting.usage_table import (
    COLUMN_NAMES,
    CONVERSION_ERRORS,
    TABLE,
    build_insert_sql,
    convert_rows,
    encode_attempts,
)
from api.accounting.write_errors import RowsRefused, WriteFailed, is_disk_full
from providers.database.deadlines import TimeLimit

if TYPE_CHECKING:
    from psycopg import AsyncConnection

logger = logging.getLogger(__name__)


class PostgresWriter:
    """The writer for Postgres, with COPY.

    A batch with a row that already exists is written with INSERT … ON CONFLICT instead. Each
    transaction is one statement, with its rows in the order of their ids; triggers add them to the
    roll-ups in the order of their keys. So two processes never wait for each other in a circle.
    """

    COPY_SQL = f"COPY {TABLE} ({COLUMN_NAMES}) FROM STDIN"
    INSERTED_ROWS = 1_000  # of one statement, which may have 65,535 values
    ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

    def __init__(self, parameters: dict[str, Any], timeout_seconds: float) -> None:
        self._parameters = parameters
        self._time_limit = TimeLimit(timeout_seconds)
        self._connection: AsyncConnection | None = None

    async def write_rows(self, rows: list[Row]) -> None:
        import psycopg

        try:
            lines = convert_rows(rows, self._format_line)
            db = self._connection or await self._open_connection()
            try:
                await self._time_limit.wait_for_work(self._copy_lines(db, lines), db)
            except psycopg.errors.UniqueViolation:
                values = convert_rows(rows, encode_attempts)
                await self._time_limit.wait_for_work(self._insert_rows(db, values), db)
        except (psycopg.DataError, psycopg.IntegrityError, *CONVERSION_ERRORS) as error:
            raise RowsRefused(str(error)) from error
        except (TimeoutError, asyncio.CancelledError) as error:
            self._connection = None  # the time limit closes it when the late call has ended
            if isinstance(error, asyncio.CancelledError):
                raise
            raise WriteFailed("the database does not answer") from error
        except RowsRefused:
            raise
        except Exception as error:  # rows that are not written are always tried again
            if not isinstance(error, psycopg.Error | OSError):
                logger.exception("the ledger's writer met an error that it did not expect")
            await self._close_connection()
            message = str(error) or type(error).__name__
            raise WriteFailed(message, disk_full=is_disk_full(error)) from error

    async def _open_connection(self) -> "AsyncConnection":
        import psycopg

        self._connection = await psycopg.AsyncConnection.connect(
            **self._parameters, autocommit=True
        )
        return self._connection

    async def _copy_lines(self, db: "AsyncConnection", lines: list[str]) -> None:
        async with db.cursor().copy(self.COPY_SQL) as copy:
            await copy.write("".join(sorted(lines)))  # a line begins with the id

    async def _insert_rows(self, db: "AsyncConnection", values: list[Row]) -> None:
        values = sorted(values, key=itemgetter(0))
        for start in range(0, len(values), self.INSERTED_ROWS):
            part = values[start : start + self.INSERTED_ROWS]
            statement = build_insert_sql("%s", len(part))
            await db.execute(statement, [value for row in part for value in row])

    def _format_line(self, row: Row) -> str:
        return "\t".join(map(self._format_value, row)) + "\n"

    def _format_value(self, value: object) -> str:
        if value is None:
            return "\\N"
        if isinstance(value, str):
            if "\\" in value or not value.isprintable():
                return value.translate(self.ESCAPES)
            return value
        if isinstance(value, list):
            return orjson.dumps(value).decode().replace("\\", "\\\\")
        return str(value)

    async def close(self) -> None:
        await self._time_limit.end_late_work()
        await self._close_connection()

    async def _close_connection(self) -> None:
        db = self._connection
        self._connection = None
        if db is not None:
            import psycopg

            with suppress(psycopg.Error, OSError):  # the connection is not used again
                await db.close()
