"""Rows of SQLite come back as they were, whatever their values, and in one state."""

import sqlite3
from contextlib import closing

import pytest

from proxysite.backup.sqlite_rows import SqliteLoader, SqliteSnapshot, decode_row, encode_row

VALUES = [
    None, 0, -(2**63), 2**63 - 1, 1.0, 0.1, 1e300, float("inf"), float("-inf"),
    "", "ü 家\n\t\\ \0 \"{", b"", b"\x00\xff{", '{"b": "text"}',
]  # fmt: skip


def make_database(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE things (id INTEGER PRIMARY KEY AUTOINCREMENT, value)")
        db.execute("CREATE TABLE notes (text)")
        db.execute("CREATE TABLE django_migrations (app, name)")
        db.execute("CREATE VIRTUAL TABLE words USING fts5 (word)")
        db.execute(
            "CREATE TRIGGER on_thing AFTER INSERT ON things "
            "BEGIN INSERT INTO notes VALUES ('told'); END"
        )
    return path


def test_each_kind_of_value_survives():
    assert decode_row(encode_row(VALUES)) == VALUES
    assert list(map(type, decode_row(encode_row(VALUES)))) == list(map(type, VALUES))
    assert encode_row(VALUES).count(b"\n") == 1


def test_a_snapshot_does_not_change_and_keeps_no_writer_waiting(tmp_path):
    path = make_database(tmp_path / "db")
    snapshot = SqliteSnapshot(path)
    things = {plan.name: plan for plan in snapshot.read_plans()}["things"]
    with closing(sqlite3.connect(path, timeout=0)) as db, db:
        db.execute("INSERT INTO things (value) VALUES ('later')")
    assert list(snapshot.read_rows(things)) == []
    snapshot.close()


def test_rows_sequences_and_triggers_are_loaded_and_no_trigger_runs_meanwhile(tmp_path):
    source = make_database(tmp_path / "source")
    with closing(sqlite3.connect(source)) as db, db:
        db.executemany("INSERT INTO things (value) VALUES (?)", [[value] for value in VALUES])
        db.execute("DELETE FROM things WHERE id = (SELECT max(id) FROM things)")
    target = make_database(tmp_path / "target")
    snapshot = SqliteSnapshot(source)
    loader = SqliteLoader(target)
    loader.begin()
    plans = snapshot.read_plans()
    assert [plan.name for plan in plans] == ["notes", "things"]
    for plan in plans:
        loader.write_rows(plan, snapshot.read_rows(plan))
        assert sorted(loader.read_rows(plan)) == sorted(snapshot.read_rows(plan))
    loader.finish(snapshot.read_sequences())
    loader.close()
    snapshot.close()
    with closing(sqlite3.connect(target)) as db, db:
        assert db.execute("SELECT count(*) FROM notes").fetchone() == (len(VALUES),)
        db.execute("INSERT INTO things (value) VALUES ('new')")
        assert db.execute("SELECT max(id) FROM things").fetchone() == (len(VALUES) + 1,)
        assert db.execute("SELECT count(*) FROM notes").fetchone() == (len(VALUES) + 1,)


def test_a_line_that_is_no_row_is_refused():
    with pytest.raises(ValueError, match="truncated"):
        decode_row(b"[1, \n")
