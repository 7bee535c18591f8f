"""What is an outage and what is a fault, with errors that the databases themselves raise."""

import socket
import sqlite3
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from providers.database import database_errors
from providers.database.database_errors import explain_database_error, is_outage
from providers.database.database_threads import await_in_time, await_work
from providers.exceptions import DatabaseUnavailable, InternalError
from providers.models import Provider

POSTGRES = connection.vendor == "postgresql"
postgres = pytest.mark.skipif(not POSTGRES, reason="Postgres only")
sqlite = pytest.mark.skipif(POSTGRES, reason="SQLite only")
rows = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_errors, "_logged_at", {})


def raised(statement: str, *values: Any) -> Error:
    """The error that the database raises for the statement."""
    with pytest.raises(Error) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
    return caught.value


@rows
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM no_such_table",
        "SELECT no_such_column FROM providers_provider",
        "SELEC 1",
        "INSERT INTO providers_revision (topic, version, floor) VALUES (NULL, 1, 1)",
    ],
)
def test_what_the_database_refuses_is_a_fault_and_no_outage(statement: str) -> None:
    error = raised(statement)
    assert not is_outage(error)
    assert isinstance(explain_database_error(error), InternalError)


@rows
def test_a_row_that_is_there_already_is_no_outage() -> None:
    Provider.objects.create(name="p", kind="echo")
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        Provider.objects.create(name="p", kind="echo")
    assert not is_outage(caught.value)


@postgres
@rows
@pytest.mark.parametrize(
    ("statement", "outage"),
    [
        ("SELECT 1 / 0", False),
        ("SELECT 'x'::int", False),
        ("SELECT pg_sleep(5)", True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
    ],
)
def test_on_postgres_the_sqlstate_decides(statement: str, outage: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 200")
    try:
        with pytest.raises(Error) as caught, connection.cursor() as cursor:
            cursor.execute(statement)
        assert is_outage(caught.value) is outage
    finally:
        connection.close()


@postgres
def test_a_server_that_is_not_there_is_an_outage() -> None:
    import psycopg

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = {"host": "127.0.0.1", "port": closed.getsockname()[1]}
        with pytest.raises(OperationalError) as caught, connection.wrap_database_errors:
            psycopg.connect(**where, dbname="x", connect_timeout=2)
    assert is_outage(caught.value)


@postgres
def test_a_pool_without_a_free_connection_is_an_outage() -> None:
    import psycopg_pool

    with pytest.raises(OperationalError) as caught, connection.wrap_database_errors:
        raise psycopg_pool.PoolTimeout("no connection within 2 s")
    assert is_outage(caught.value)


@sqlite
def test_a_locked_a_full_and_a_missing_file_are_outages(tmp_path: Any) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path) as one, sqlite3.connect(path, timeout=0) as other:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError) as locked, connection.wrap_database_errors:
            other.execute("BEGIN IMMEDIATE")
        one.execute("CREATE TABLE t (x)")
        one.execute("PRAGMA max_page_count = 2")
        with pytest.raises(OperationalError) as full, connection.wrap_database_errors:
            one.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    with pytest.raises(OperationalError) as missing, connection.wrap_database_errors:
        sqlite3.connect(tmp_path / "no" / "db")
    one.close()
    other.close()
    for caught in (locked, full, missing):
        assert is_outage(caught.value), caught.value


@sqlite
def test_a_value_that_sqlite_cannot_bind_is_a_fault() -> None:
    with (
        sqlite3.connect(":memory:") as database,
        pytest.raises(Error) as caught,
        connection.wrap_database_errors,
    ):
        database.execute("SELECT ?", (object(),))
    database.close()
    assert not is_outage(caught.value)


@pytest.mark.parametrize(
    "error", [OperationalError("away"), InterfaceError("connection already closed")]
)
def test_errors_without_a_code_are_judged_by_their_class(error: Error) -> None:
    assert is_outage(error)
    assert isinstance(explain_database_error(error), DatabaseUnavailable)


@pytest.mark.parametrize(
    "error", [DatabaseError("Forced update did not affect any rows."), IntegrityError("twice")]
)
def test_what_django_raises_itself_is_no_outage(error: Error) -> None:
    assert not is_outage(error)


def test_an_error_that_is_of_no_database_is_no_outage() -> None:
    assert not is_outage(OSError("the disk"))


@pytest.mark.parametrize("asked", [await_work, await_in_time])
async def test_what_is_asked_of_the_database_ends_in_one_of_two_errors(asked: Any) -> None:
    async def fails(error: Error) -> None:
        raise error

    with pytest.raises(DatabaseUnavailable):
        await asked(fails(OperationalError("away")))
    with pytest.raises(DatabaseUnavailable):
        await asked(fails(InterfaceError("closed")))
    with pytest.raises(InternalError):
        await asked(fails(IntegrityError("twice")))


@rows
def test_a_fault_is_logged_with_its_place_once_a_minute_and_without_the_values_of_rows(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        explain_database_error(raised("SELECT no_such_column FROM providers_provider"))
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_text is not None or record.exc_info is not None
    assert "no_such_column" in caplog.text
    assert "test_database_errors.py" in caplog.text
    monkeypatch.setattr(database_errors, "LOG_AGAIN_SECONDS", 0.0)
    explain_database_error(raised("SELECT no_such_column FROM providers_provider"))
    assert len(caplog.records) == 2
    caplog.clear()
    explain_database_error(IntegrityError("null value\nDETAIL:  Failing row contains (sk-secret)"))
    assert "null value" in caplog.text
    assert "sk-secret" not in caplog.text


def test_what_is_remembered_of_faults_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_errors, "MOST_LOGGED_KINDS", 3)
    for number in range(10):
        explain_database_error(IntegrityError(f"number {number}"))
    assert len(database_errors._logged_at) == 3
