"""Databases that are locked, away or gone."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from django.db import connection

from api.accounting.postgres_writer import PostgresWriter
from api.accounting.sqlite_writer import SqliteWriter
from api.accounting.usage_table import COLUMNS, TABLE
from api.accounting.write_errors import WriteFailed
from api.accounting.writers import Writer
from api.tests.accounting.written_rows import (
    committed,
    load_records,
    make_row,
    postgres_only,
    sqlite_only,
    write_rows,
)
from providers.database.database_threads import run_in_thread


@sqlite_only
@committed
async def test_a_locked_database_fails_in_time_and_works_again_when_it_is_free() -> None:
    path = str(connection.settings_dict["NAME"])
    writer = SqliteWriter(path, 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WriteFailed, match="locked"):
            await write_rows(writer, make_row())
        other.execute("ROLLBACK")
        await write_rows(writer, make_row())
    finally:
        other.close()
        await writer.close()
    assert len(await load_records()) == 1


async def test_a_sqlite_file_that_is_not_there_fails_and_is_used_once_it_is(tmp_path: Path) -> None:
    path = tmp_path / "home" / "db.sqlite3"
    writer = SqliteWriter(str(path), 0.05)
    try:
        for _ in range(2):
            with pytest.raises(WriteFailed):
                await write_rows(writer, make_row())
        path.parent.mkdir()
        with sqlite3.connect(path) as db:
            columns = ", ".join(
                f"{name} {'TEXT PRIMARY KEY' if name == 'id' else 'ANY'}" for name in COLUMNS
            )
            db.execute(f"CREATE TABLE {TABLE} ({columns})")
        db.close()
        await write_rows(writer, make_row(), make_row(2))
    finally:
        await writer.close()
    db = sqlite3.connect(path)
    assert db.execute(f"SELECT count(*) FROM {TABLE}").fetchone() == (2,)
    db.close()


async def test_a_postgres_that_is_not_there_fails() -> None:
    writer = PostgresWriter(
        {"host": "127.0.0.1", "port": 1, "dbname": "x", "user": "x", "connect_timeout": 2}, 2
    )
    with pytest.raises(WriteFailed):
        await write_rows(writer, make_row())
    await writer.close()


@postgres_only
@committed
async def test_a_connection_that_postgres_closed_fails_once_and_is_made_anew(
    writer: PostgresWriter,
) -> None:
    def end() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s",
                [writer._connection.info.backend_pid],
            )

    await write_rows(writer, make_row(1))
    await run_in_thread(end)
    with pytest.raises(WriteFailed):
        await write_rows(writer, make_row(2))
    await write_rows(writer, make_row(2))
    assert len(await load_records()) == 2


@postgres_only
@committed
async def test_a_table_that_is_locked_fails_in_time(writer: Writer) -> None:
    import psycopg

    known = ("dbname", "user", "password", "host", "port")
    parameters = {
        name: value for name, value in connection.get_connection_params().items() if name in known
    }
    impatient = PostgresWriter(parameters, 0.2)
    async with await psycopg.AsyncConnection.connect(**parameters) as other:
        await other.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(WriteFailed):
            await write_rows(impatient, make_row())
        await other.rollback()
    await write_rows(impatient, make_row())
    await impatient.close()
    assert len(await load_records()) == 1


@postgres_only
@committed
async def test_a_writing_that_was_ended_midway_does_not_spoil_the_next(writer: Writer) -> None:
    await write_rows(writer, make_row(1))
    for number in range(2, 12):
        cut = asyncio.ensure_future(writer.write_rows([make_row(number)]))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        await write_rows(writer, make_row(number))
    assert [found.id.int for found in await load_records()] == list(range(1, 12))
