import asyncio
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from api.accounting import writers
from api.accounting.usage_rows import row_from_facts
from api.accounting.write_errors import RowsRefused, WriteFailed
from api.accounting.writers import COLUMNS, PostgresWriter, SqliteWriter, Writer
from api.models import UsageRecord
from providers.database.database_threads import run_in_thread

committed = pytest.mark.usefixtures("transactional_db")
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own writer")
on_postgres = pytest.mark.skipif(connection.vendor != "postgresql", reason="Postgres's own writer")

AT = "2026-11-21T10:00:00.123456+00:00"
ATTEMPT = {
    "provider": "p",
    "token": UUID(int=5),
    "reason": 'a\tb\\n\u2028"é',
    "total_ms": 1.5,
    "status": None,
}


VALUES = (
    *("", AT, 11, 12, 13, f"{99:032x}", "chat/completions", "m", True, "complete"),
    *(200, "", [ATTEMPT], 1, 2, 3, 4, True, 0.25, None, 1e-05, 12345.678),
)


def row(number: int = 1, **fields: Any) -> list[Any]:
    return list(
        (dict(zip(COLUMNS, VALUES, strict=True)) | {"id": f"{number:032x}"} | fields).values()
    )


@pytest.fixture
async def writer() -> Any:
    found = writers.make_writer()
    yield found
    await asyncio.wait_for(found.close(), 2)


async def records() -> list[UsageRecord]:
    return await run_in_thread(lambda: list(UsageRecord.objects.order_by("id")))


async def write(writer: Writer, *rows: list[Any]) -> None:
    """Fails rather than waits for ever."""
    async with asyncio.timeout(5):
        await writer.write_rows(list(rows))


@committed
async def test_the_writer_of_the_configured_database_is_taken(writer: Writer) -> None:
    assert isinstance(writer, SqliteWriter if connection.vendor == "sqlite" else PostgresWriter)


@committed
async def test_a_row_is_committed_with_every_column_when_write_returns(writer: Writer) -> None:
    await write(writer, row())
    [found] = await records()
    assert found.id == UUID(int=1)
    assert found.started_at == datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
    assert (found.key_id, found.user_id, found.provider_id, found.token_id) == (
        11,
        12,
        13,
        UUID(int=99),
    )
    assert (found.endpoint, found.model, found.stream, found.status) == (
        "chat/completions",
        "m",
        True,
        "complete",
    )
    assert (found.http_status, found.error_code) == (200, "")
    assert found.attempts == [ATTEMPT | {"token": str(UUID(int=5))}]
    assert (
        found.prompt_tokens,
        found.completion_tokens,
        found.reasoning_tokens,
        found.cached_tokens,
    ) == (1, 2, 3, 4)
    assert found.estimated is True
    assert (found.queue_ms, found.connect_ms) == (0.25, None)
    assert (found.first_byte_ms, found.total_ms) == (pytest.approx(1e-05), pytest.approx(12345.678))


@committed
async def test_a_row_of_the_writer_is_found_by_the_orm_as_one_of_its_own(writer: Writer) -> None:
    def questions() -> list[bool]:
        made = UsageRecord.objects.get(id=UUID(int=1))
        own = UsageRecord.objects.create(
            started_at=made.started_at, endpoint="e", model="m", stream=False, status="error"
        )
        found = UsageRecord.objects.filter(started_at=made.started_at)
        return [
            found.filter(token_id=UUID(int=99)).exists(),
            found.count() == 2,
            list(found.order_by("started_at").filter(started_at__lte=own.started_at)) != [],
            UsageRecord.objects.filter(
                attempts__0__provider="p", estimated=True, stream=True
            ).exists(),
        ]

    await write(writer, row())
    assert await run_in_thread(questions) == [True] * 4


@committed
async def test_a_time_without_a_fraction_is_read_too(writer: Writer) -> None:
    await write(writer, row(started_at="2026-11-21T10:00:00+00:00"))
    assert (await records())[0].started_at == datetime(2026, 11, 21, 10, tzinfo=UTC)


NOTHING = dict.fromkeys(
    (
        "key_id",
        "user_id",
        "provider_id",
        "token_id",
        "http_status",
        "queue_ms",
        "first_byte_ms",
        "total_ms",
    ),
    None,
)


@committed
async def test_a_row_about_nobody_and_nothing_is_written(writer: Writer) -> None:
    await write(writer, row(attempts=[], **NOTHING))
    [found] = await records()
    assert (found.key_id, found.token_id, found.http_status, found.attempts, found.total_ms) == (
        None,
        None,
        None,
        [],
        None,
    )


TEXTS = [
    "",
    "\\N",
    "\\.",
    "a\tb",
    "a\nb\r\nc",
    "\\t\\n",
    "'\"`;--",
    "🎈\u2028\x85é",
    "NULL",
    "\x01\x1f",
    "a\\",
    " x ",
]


@committed
async def test_any_text_comes_back_exactly(writer: Writer) -> None:
    rows = [
        row(n, model=text, error_code=text, attempts=[{"reason": text}])
        for n, text in enumerate(TEXTS, 1)
    ]
    await write(writer, *rows)
    found = await records()
    assert [one.model for one in found] == TEXTS
    assert [one.error_code for one in found] == TEXTS
    assert [one.attempts for one in found] == [[{"reason": text}] for text in TEXTS]


@committed
async def test_a_batch_is_written_whole(writer: Writer) -> None:
    await write(writer, *(row(number) for number in range(1, 301)))
    await write(writer)
    await write(writer, *(row(number) for number in range(301, 304)))
    assert [found.id.int for found in await records()] == list(range(1, 304))


@committed
async def test_writing_twice_changes_nothing_and_does_not_hold_up_new_rows(writer: Writer) -> None:
    await write(writer, row(1), row(2))
    await write(writer, row(2, model="other"), row(3), row(1, status="error"), row(3))
    await write(writer, row(4))
    assert [(found.id.int, found.model, found.status) for found in await records()] == [
        *((number, "m", "complete") for number in (1, 2, 3, 4))
    ]


@committed
async def test_an_interrupted_row_never_replaces_the_one_that_was_committed(writer: Writer) -> None:
    for number in (1, 2):
        if number == 1:
            await write(writer, row(1))
        await write(
            writer, row_from_facts([f"{number:032x}", AT, None, None, "embeddings", "m", False])
        )
    found = [(one.id.int, one.status, one.error_code, one.http_status) for one in await records()]
    assert found == [(1, "complete", "", 200), (2, "interrupted", "interrupted", None)]


# --- rows that no database can take ---------------------------------------------------------------
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
        await write(writer, row(1), row(2, **IMPOSSIBLE[case]))
    await write(writer, row(3))
    assert [found.id.int for found in await records()] == [3]


@on_sqlite
@committed
async def test_the_thread_answers_whatever_is_raised_holds_no_lock_and_lives_on(
    writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in (
        ZeroDivisionError(),
        KeyError("x"),
        MemoryError(),
        SystemError("odd"),
        AttributeError("odd"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                writer, "_row_values", lambda row, fault=fault: (_ for _ in ()).throw(fault)
            )
            with pytest.raises(RowsRefused):
                await write(writer, row(1))
            patch.undo()
            patch.setattr(
                writer, "_insert_rows", lambda db, values, fault=fault: (_ for _ in ()).throw(fault)
            )
            with pytest.raises(WriteFailed):
                await write(writer, row(1))
        with sqlite3.connect(str(connection.settings_dict["NAME"]), timeout=0, uri=True) as other:
            other.execute("BEGIN IMMEDIATE")  # nobody holds the lock
        other.close()
        await write(writer, row(1))
    assert len(await records()) == 1


@on_sqlite
@committed
async def test_a_full_disk_is_named_as_what_it_is_and_the_same_rows_are_written_later(
    writer: SqliteWriter,
) -> None:
    await write(writer, row(1))
    db = writer._connection
    assert db is not None
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages}")
    free = db.execute("PRAGMA freelist_count").fetchone()[
        0
    ]  # pages that earlier tests left empty are filled first
    last = 400 + 20 * free
    many = [row(number, error_code="x" * 64) for number in range(2, last)]
    with pytest.raises(WriteFailed, match=r"^the disk is full$") as caught:
        await write(writer, *many)
    assert caught.value.disk_full
    await write(writer, *many)
    assert len(await records()) == last - 1


@on_postgres
@committed
async def test_whatever_is_raised_on_postgres_is_answered_and_the_next_rows_are_written(
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
                await write(writer, row(1))
            assert caught.value.disk_full == isinstance(fault, psycopg.errors.DiskFull)
        await write(writer, row(1))
    assert len(await records()) == 1


@committed
async def test_a_row_of_another_version_is_refused(writer: Writer) -> None:
    for odd in ([], [1], [*row(1), "more"], row(1)[:-1]):
        with pytest.raises(RowsRefused):
            await write(writer, odd)
    await write(writer, row(2))
    assert [found.id.int for found in await records()] == [2]


@committed
async def test_a_nul_in_a_text_is_stored_or_refused_and_never_taken_for_an_outage(
    writer: Writer,
) -> None:
    for field in ("error_code", "model"):
        with suppress(RowsRefused):
            await write(writer, row(1, **{field: "a\0b"}))
    await write(writer, row(2))
    assert (await records())[-1].id == UUID(int=2)


# --- trouble --------------------------------------------------------------------------------------
@on_sqlite
@committed
async def test_a_locked_database_fails_in_time_and_works_again_when_it_is_free() -> None:
    path = str(connection.settings_dict["NAME"])
    writer = SqliteWriter(path, 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WriteFailed, match="locked"):
            await write(writer, row())
        other.execute("ROLLBACK")
        await write(writer, row())
    finally:
        other.close()
        await writer.close()
    assert len(await records()) == 1


async def test_a_sqlite_file_that_is_not_there_fails_and_is_used_once_it_is(tmp_path: Path) -> None:
    path = tmp_path / "home" / "db.sqlite3"
    writer = SqliteWriter(str(path), 0.05)
    try:
        for _ in range(2):
            with pytest.raises(WriteFailed):
                await write(writer, row())
        path.parent.mkdir()
        with sqlite3.connect(path) as db:
            columns = ", ".join(
                f"{name} {'TEXT PRIMARY KEY' if name == 'id' else 'ANY'}" for name in COLUMNS
            )
            db.execute(f"CREATE TABLE {writers.TABLE} ({columns})")
        db.close()
        await write(writer, row(), row(2))
    finally:
        await writer.close()
    db = sqlite3.connect(path)
    assert db.execute(f"SELECT count(*) FROM {writers.TABLE}").fetchone() == (2,)
    db.close()


async def test_a_postgres_that_is_not_there_fails() -> None:
    writer = PostgresWriter(
        {"host": "127.0.0.1", "port": 1, "dbname": "x", "user": "x", "connect_timeout": 2}, 2
    )
    with pytest.raises(WriteFailed):
        await write(writer, row())
    await writer.close()


@on_postgres
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

    await write(writer, row(1))
    await run_in_thread(end)
    with pytest.raises(WriteFailed):
        await write(writer, row(2))
    await write(writer, row(2))
    assert len(await records()) == 2


@on_postgres
@committed
async def test_a_table_that_is_locked_fails_in_time(writer: Writer) -> None:
    import psycopg

    known = ("dbname", "user", "password", "host", "port")
    parameters = {
        name: value for name, value in connection.get_connection_params().items() if name in known
    }
    impatient = PostgresWriter(parameters, 0.2)
    async with await psycopg.AsyncConnection.connect(**parameters) as other:
        await other.execute(f"LOCK TABLE {writers.TABLE} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(WriteFailed):
            await write(impatient, row())
        await other.rollback()
    await write(impatient, row())
    await impatient.close()
    assert len(await records()) == 1


@on_postgres
@committed
async def test_a_writing_that_was_ended_midway_does_not_spoil_the_next(writer: Writer) -> None:
    await write(writer, row(1))
    for number in range(2, 12):
        cut = asyncio.ensure_future(writer.write_rows([row(number)]))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        await write(writer, row(number))
    assert [found.id.int for found in await records()] == list(range(1, 12))
