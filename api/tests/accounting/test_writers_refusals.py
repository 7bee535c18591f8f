"""Rows that no database can hold, and errors in the writers themselves."""

import sqlite3
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from api.accounting.postgres_writer import PostgresWriter
from api.accounting.sqlite_writer import SqliteWriter
from api.accounting.write_errors import RowsRefused, WriteFailed
from api.accounting.writers import Writer
from api.tests.accounting.written_rows import (
    committed,
    load_records,
    make_row,
    postgres_only,
    sqlite_only,
    write_rows,
)

IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "an unknown status": {"status": "nonsense"},
    "a negative count": {"prompt_tokens": -1},
    "a missing value": {"model": None},
    "a number beyond 64 bits": {"prompt_tokens": 2**70},
    "a number beyond 64 bits in an attempt": {"attempts": [{"status": 2**70}]},
    "a lone surrogate": {"model": "\ud800"},
    "a lone surrogate in an attempt": {"attempts": [{"reason": "\ud800"}]},
    "something that JSON has not": {"attempts": [{"reason": object()}]},
    "a list for a text": {"model": ["m"]},
    "an object for a text": {"model": {"m": 1}},
    "an object of no known kind": {"error_code": object()},
    "a number for a time": {"started_at": 5},
    "nothing for a time": {"started_at": None},
}
ODD_ON_ONE = (
    "a list for a text",
    "an object for a text",
    "an object of no known kind",
)  # COPY sends any as text


@committed
@pytest.mark.parametrize("case", IMPOSSIBLE)
async def test_a_row_that_cannot_be_stored_is_refused_and_the_next_batch_is_written(
    writer: Writer, case: str
) -> None:
    if connection.vendor == "postgresql" and case in ODD_ON_ONE:
        pytest.skip("Postgres takes it as a text")
    with pytest.raises(RowsRefused):
        await write_rows(writer, make_row(1), make_row(2, **IMPOSSIBLE[case]))
    await write_rows(writer, make_row(3))
    assert [found.id.int for found in await load_records()] == [3]


@sqlite_only
@committed
async def test_the_thread_answers_whatever_is_raised_holds_no_lock_and_lives_on(
    writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault, outcome in (
        (ZeroDivisionError(), RowsRefused),
        (KeyError("x"), RowsRefused),
        (MemoryError(), WriteFailed),
        (SystemError("odd"), WriteFailed),
        (AttributeError("odd"), RowsRefused),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                writer, "_row_values", lambda row, fault=fault: (_ for _ in ()).throw(fault)
            )
            with pytest.raises(outcome):
                await write_rows(writer, make_row(1))
            patch.undo()
            patch.setattr(
                writer, "_insert_rows", lambda db, values, fault=fault: (_ for _ in ()).throw(fault)
            )
            with pytest.raises(WriteFailed):
                await write_rows(writer, make_row(1))
        with sqlite3.connect(str(connection.settings_dict["NAME"]), timeout=0, uri=True) as other:
            other.execute("BEGIN IMMEDIATE")  # nobody holds the lock
        other.close()
        await write_rows(writer, make_row(1))
    assert len(await load_records()) == 1


@sqlite_only
@committed
async def test_a_full_disk_is_named_as_what_it_is_and_the_same_rows_are_written_later(
    writer: SqliteWriter,
) -> None:
    await write_rows(writer, make_row(1))
    db = writer._connection
    assert db is not None
    db.execute("VACUUM")  # pages that earlier tests left empty would be filled first
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages}")
    last = 400
    many = [make_row(number, error_code="x" * 64) for number in range(2, last)]
    with pytest.raises(WriteFailed, match=r"^the disk is full$") as caught:
        await write_rows(writer, *many)
    assert caught.value.disk_full
    await write_rows(writer, *many)
    assert len(await load_records()) == last - 1


@postgres_only
@committed
async def test_whatever_is_raised_postgres_only_is_answered_and_the_next_rows_are_written(
    writer: PostgresWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    async def broken(db: Any, lines: list[str]) -> None:
        raise fault

    for fault in (
        ZeroDivisionError(),
        AttributeError("odd"),
        MemoryError(),
        psycopg.errors.DiskFull("no space"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(writer, "_copy_lines", broken)
            with pytest.raises(WriteFailed) as caught:
                await write_rows(writer, make_row(1))
            assert caught.value.disk_full == isinstance(fault, psycopg.errors.DiskFull)
        await write_rows(writer, make_row(1))
    assert len(await load_records()) == 1


@committed
async def test_a_row_of_another_version_is_refused(writer: Writer) -> None:
    for odd in ([], [1], [*make_row(1), "more"], make_row(1)[:-1]):
        with pytest.raises(RowsRefused):
            await write_rows(writer, odd)
    await write_rows(writer, make_row(2))
    assert [found.id.int for found in await load_records()] == [2]


@committed
async def test_a_nul_in_a_text_is_stored_or_refused_and_never_taken_for_an_outage(
    writer: Writer,
) -> None:
    for field in ("error_code", "model"):
        with suppress(RowsRefused):
            await write_rows(writer, make_row(1, **{field: "a\0b"}))
    await write_rows(writer, make_row(2))
    assert (await load_records())[-1].id == UUID(int=2)
