"""A connection of a backup's own: its statements may take hours, and nobody else uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

ALIAS = "backup"
UNBOUNDED = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"


def build_own_settings(sqlite_file: Path | None) -> dict[str, Any]:
    """Return Django's settings of the connection; `sqlite_file` stands in for the usual file."""
    config: dict[str, Any] = dict(settings.DATABASES["default"])
    if settings.EMBEDDED_DATABASE:
        return config | {"NAME": str(sqlite_file or config["NAME"])}
    options = {name: value for name, value in config["OPTIONS"].items() if name != "pool"}
    return config | {"OPTIONS": options | {"options": UNBOUNDED}}


@contextmanager
def open_own_connection(sqlite_file: Path | None = None) -> Iterator[BaseDatabaseWrapper]:
    """Yield a Django connection to the gateway's database, or to another SQLite file.

    Raises DatabaseError.
    """
    config = {"default": {}, ALIAS: build_own_settings(sqlite_file)}
    connections.databases[ALIAS] = connections.configure_settings(config)[ALIAS]
    try:
        connection = connections[ALIAS]
        connection.ensure_connection()
        yield connection
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]
