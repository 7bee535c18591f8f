"""Triggers that count changes of the rows the hot path reads, for SQLite and Postgres.

A `Watch` names a table, its topic in `providers.Revision` and the columns that matter. Every insert, delete or update
of those columns raises the topic's version, whoever made it (ORM, bulk import, psql); on Postgres it also sends
NOTIFY. A `stamped` table keeps the version of its last change in each row (`changed`), and of each deleted row there is
a `Tombstone` with the version: a reader asks for what is newer than it has seen (`stamped.py`). Many rows deleted at
once and TRUNCATE lift the topic's floor instead, below which a reader starts anew.

The topic's row is locked before any row of the table and until commit: versions become visible in their order and none
is skipped, and two writers never wait for each other.

They are installed after each `migrate`, not by single migrations: SQLite's schema changes rebuild tables and drop
triggers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

CHANNEL = "proxysite"
TOMBSTONES_AT_ONCE = 5_000  # rows of one statement; more are as quickly read anew


@dataclass(frozen=True, slots=True)
class Watch:
    """One table to watch. All names come from this project's code, never from input."""

    table: str
    topic: str
    columns: tuple[str, ...] = ()  # none: any column
    stamped: bool = False


def install(connection: BaseDatabaseWrapper, watches: Iterable[Watch]) -> None:
    """Create the triggers again, whatever was there before; tables that do not exist yet are left for a later run."""
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        if "providers_tombstone" not in tables:
            return
        statements = _POSTGRES_FUNCTIONS if connection.vendor == "postgresql" else []
        write = _postgres if connection.vendor == "postgresql" else _sqlite
        for watch in watches:
            if watch.table in tables:
                statements = [*statements, *_drops(connection.vendor, watch.table), *write(watch)]
        for statement in statements:
            cursor.execute(statement)


def remove(connection: BaseDatabaseWrapper, table: str) -> None:
    """Drop the triggers of a table that is watched no more."""
    with connection.cursor() as cursor:
        if table in connection.introspection.table_names(cursor):
            for statement in _drops(connection.vendor, table):
                cursor.execute(statement)


def _drops(vendor: str, table: str) -> list[str]:
    if vendor == "postgresql":
        names = ("write", "delete", "truncate", "stamp")
        return [f"DROP TRIGGER IF EXISTS proxysite_{name} ON {table}" for name in names]
    return [f"DROP TRIGGER IF EXISTS proxysite_{table}_{event}" for event in ("insert", "update", "delete")]


def _sqlite(watch: Watch) -> list[str]:
    of = f" OF {', '.join(watch.columns)}" if watch.columns else ""
    version = f"(SELECT version FROM providers_revision WHERE topic = '{watch.topic}')"  # noqa: S608 - own names
    bump = (
        f"INSERT INTO providers_revision (topic, version, floor) VALUES ('{watch.topic}', 1, 0) "  # noqa: S608
        "ON CONFLICT (topic) DO UPDATE SET version = version + 1;"
    )
    stamp = f" UPDATE {watch.table} SET changed = {version} WHERE rowid = NEW.rowid;"  # noqa: S608
    bury = (
        " INSERT INTO providers_tombstone (topic, row_id, version, deleted_at)"  # noqa: S608
        f" VALUES ('{watch.topic}', OLD.id, {version}, strftime('%Y-%m-%d %H:%M:%f', 'now'));"
    )
    statements = []
    for event, when, more in (
        ("insert", "INSERT", stamp),
        ("update", f"UPDATE{of}", stamp),
        ("delete", "DELETE", bury),
    ):
        body = bump + (more if watch.stamped else "")
        statements.append(
            f"CREATE TRIGGER proxysite_{watch.table}_{event} AFTER {when} ON {watch.table} BEGIN {body} END"
        )
    return statements


_POSTGRES_FUNCTIONS = [
    """
    CREATE OR REPLACE FUNCTION proxysite_bump() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE anew boolean := TG_OP = 'TRUNCATE';
    BEGIN
        INSERT INTO providers_revision AS r (topic, version, floor) VALUES (TG_ARGV[0], 1, anew::int)
        ON CONFLICT (topic) DO UPDATE SET version = r.version + 1,
            floor = CASE WHEN anew THEN r.version + 1 ELSE r.floor END;
        PERFORM pg_notify('proxysite', TG_ARGV[0]);
        RETURN NULL;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION proxysite_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.changed := (SELECT version FROM providers_revision WHERE topic = TG_ARGV[0]);
        RETURN NEW;
    END $$
    """,
    f"""
    CREATE OR REPLACE FUNCTION proxysite_bury() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) > {TOMBSTONES_AT_ONCE} FROM gone) THEN
            UPDATE providers_revision SET floor = version WHERE topic = TG_ARGV[0];
        ELSE
            INSERT INTO providers_tombstone (topic, row_id, version, deleted_at)
            SELECT r.topic, gone.id::text, r.version, clock_timestamp()
            FROM gone CROSS JOIN providers_revision AS r WHERE r.topic = TG_ARGV[0];
        END IF;
        RETURN NULL;
    END $$
    """,  # noqa: S608 - a constant
]


def _postgres(watch: Watch) -> list[str]:
    of = f" OF {', '.join(watch.columns)}" if watch.columns else ""
    wanted = [
        ("write", f"BEFORE INSERT OR DELETE OR UPDATE{of}", "", "STATEMENT", "bump"),
        ("truncate", "AFTER TRUNCATE", "", "STATEMENT", "bump"),
    ]
    if watch.stamped:
        wanted.append(("stamp", f"BEFORE INSERT OR UPDATE{of}", "", "ROW", "stamp"))
        wanted.append(("delete", "AFTER DELETE", " REFERENCING OLD TABLE AS gone", "STATEMENT", "bury"))
    return [
        f"CREATE TRIGGER proxysite_{name} {when} ON {watch.table}{tables} FOR EACH {level}"
        f" EXECUTE FUNCTION proxysite_{function}('{watch.topic}')"
        for name, when, tables, level, function in wanted
    ]
