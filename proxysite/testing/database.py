"""Faults of the database that tests cause, and the release of the test database at their end."""

import asyncio
import hashlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import django
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connection, connections

LEAVING_SECONDS = 3.0
OTHER_CONNECTIONS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def find_migrated_file(folder: Path) -> Path:
    """Return the path of an SQLite file to which exactly our present migrations are applied.

    It need not exist yet.
    """
    digest = hashlib.sha256(f"{django.VERSION} {sqlite3.sqlite_version}".encode())
    for app in apps.get_app_configs():
        for file in sorted(Path(app.path, "migrations").glob("*.py")):
            digest.update(f"{app.label} {file.name}".encode())
            digest.update(file.read_bytes())
    return folder / f"{digest.hexdigest()[:24]}.sqlite3"


def use_migrated_file(file: Path) -> None:
    """Put a copy of the file, if it exists, where the test database will be."""
    if file.exists():
        shutil.copy(file, connection.settings_dict["TEST"]["NAME"])


def keep_migrated_file(file: Path) -> None:
    """Copy the test database to the file, unless it exists."""
    if file.exists():
        return
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as db:
        db.execute("VACUUM INTO ?", [str(draft)])
    with closing(sqlite3.connect(draft)) as copy:
        copy.execute("PRAGMA journal_mode=WAL")
    draft.replace(file)


def close_other_connections() -> None:
    """Wait until this connection is the only one to the Postgres test database.

    The database can then be dropped. A pool may still be opening a connection in the background,
    and a thread that has ended may have left one behind. Connections that stay longer than
    LEAVING_SECONDS are ended.
    """
    if connection.vendor != "postgresql":
        return
    end = time.monotonic() + LEAVING_SECONDS
    while query_outside_pool(f"SELECT 1 {OTHER_CONNECTIONS}") and time.monotonic() < end:
        time.sleep(0.05)
    query_outside_pool(f"SELECT pg_terminate_backend(pid) {OTHER_CONNECTIONS}")


def query_outside_pool(statement: str) -> list[Any]:
    """Return the rows of a statement, run outside of the connection pool, which is closed."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    import psycopg

    names = ("dbname", "user", "password", "host", "port")
    parameters = connection.get_connection_params()
    with psycopg.connect(**{name: parameters[name] for name in names if name in parameters}) as db:
        return db.execute(statement).fetchall()


class LedgerLock:
    """An `async with` block in which no usage record can be written; everything can be read."""

    def __init__(self) -> None:
        self._vendor = connection.vendor
        self._name = str(connection.settings_dict["NAME"])
        self._parameters = (
            connection.get_connection_params() if self._vendor == "postgresql" else {}
        )
        self._db: Any = None

    async def __aenter__(self) -> "LedgerLock":
        await asyncio.to_thread(self._lock_table)
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._unlock_table)

    def _lock_table(self) -> None:
        if self._vendor == "sqlite":
            self._db = sqlite3.connect(self._name, isolation_level=None, check_same_thread=False)
            self._db.execute("BEGIN IMMEDIATE")
            return
        import psycopg

        wanted = {
            name: self._parameters[name]
            for name in ("dbname", "user", "host", "port")
            if name in self._parameters
        }
        self._db = psycopg.connect(**wanted)
        self._db.execute("LOCK TABLE api_usagerecord IN ACCESS EXCLUSIVE MODE")

    def _unlock_table(self) -> None:
        self._db.rollback()
        self._db.close()


class DatabaseProxy:
    """A proxy between this process and Postgres that can freeze, like a server that hangs.

    Use it in a `with` block. It runs in a thread of its own, because some callers block the event
    loop of the test while they connect.
    """

    def __init__(self) -> None:
        self._settings = connections.settings[DEFAULT_DB_ALIAS]
        self._real_address = {name: self._settings[name] for name in ("HOST", "PORT")}
        self._flowing = asyncio.Event()
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "DatabaseProxy":
        self._flowing.set()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._accept_connection, "127.0.0.1", 0)
        )
        port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="database proxy")
        self._thread.start()
        self._redirect_django({"HOST": "127.0.0.1", "PORT": str(port)})
        return self

    def __exit__(self, *error: object) -> None:
        self._redirect_django(self._real_address)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        running = asyncio.all_tasks(self._loop)
        for task in running:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*running, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # transports close in the loop's next turn
        self._loop.close()

    def _redirect_django(self, address: dict[str, Any]) -> None:
        """Let Django connect to this address from now on."""
        connection.close()
        self._settings.update(address)
        connection.close_pool()  # type: ignore[attr-defined]

    @contextmanager
    def freeze_traffic(self) -> Iterator[None]:
        """Stop all traffic during the block; new connections wait."""
        self._loop.call_soon_threadsafe(self._flowing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flowing.set)

    async def _accept_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await self._flowing.wait()
            there, back = await asyncio.open_connection(
                self._real_address["HOST"] or "127.0.0.1", self._real_address["PORT"] or 5432
            )
            await asyncio.gather(self._pump_bytes(reader, back), self._pump_bytes(there, writer))

    async def _pump_bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
