"""The writers of usage records: one transaction per batch, on the ledger's own connection.

A row is a list of values in the order of COLUMNS; ids are UUIDs as 32 hex digits, times ISO 8601,
attempts a list. `write_rows` returns when the batch is committed. Inserting an id twice changes
nothing. Only WriteFailed and RowsRefused are raised: on any error the transaction is rolled back
and the waiting caller gets an answer. Values are converted before the transaction begins, so that a
row of the wrong kind never holds the write lock.
"""

from collections.abc import Awaitable
from typing import Any, Protocol

from django.conf import settings
from django.db import connection

from api.accounting.postgres_writer import PostgresWriter
from api.accounting.spool import Row
from api.accounting.sqlite_writer import SqliteWriter

POSTGRES_PARAMETERS = frozenset(
    """
    dbname user password host port options connect_timeout tcp_user_timeout sslmode sslrootcert
    sslcert sslkey service application_name
    """.split()
)


class Writer(Protocol):
    def write_rows(self, rows: list[Row]) -> Awaitable[None]: ...
    def close(self) -> Awaitable[None]: ...


def make_writer() -> Writer:
    """Return the writer for the configured database."""
    timeout = settings.DATABASE_TIMEOUT_SECONDS
    if connection.vendor == "sqlite":
        return SqliteWriter(str(connection.settings_dict["NAME"]), timeout)
    return PostgresWriter(list_postgres_parameters(), timeout)


def list_postgres_parameters() -> dict[str, Any]:
    """Return the parameters of a connection of our own to the configured Postgres."""
    return {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in POSTGRES_PARAMETERS
    }
