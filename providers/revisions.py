"""Triggers that count changes of the rows the hot path reads, for SQLite and Postgres.

A `Watch` names a table, its topic in `providers.Revision` and the columns that matter. Every insert, delete or update
of those columns raises the topic's version, whoever made it (ORM, bulk import, psql); on Postgres it also sends
NOTIFY. A `stamped` table keeps the version of its last change in each row (`changed`), so that a reader asks for
`changed > seen` only; a delete lifts the topic's floor, below which a reader starts anew. The topic's row stays
locked until commit, so versions become visible in their order and none is skipped.

They are installed after each `migrate`, not by single migrations: SQLite's schema changes rebuild tables and drop
triggers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

CHANNEL = "proxysite"


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
        statements = _POSTGRES_FUNCTIONS if connection.vendor == "postgresql" else []
        write = _postgres if connection.vendor == "postgresql" else _sqlite
        for watch in watches:
            if watch.table in tables:
                statements = [*statements, *write(watch)]
        for statement in statements:
            cursor.execute(statement)


def _sqlite(watch: Watch) -> list[str]:
    of = f" OF {', '.join(watch.columns)}" if watch.columns else ""
    bump = (  # every name is this project's own
        "INSERT INTO providers_revision (topic, version, floor) VALUES ('{topic}', 1, {first}) "
        "ON CONFLICT (topic) DO UPDATE SET version = version + 1{floor};"
    )
    stamp = (
        f" UPDATE {watch.table} SET changed = (SELECT version FROM providers_revision"  # noqa: S608
        f" WHERE topic = '{watch.topic}')"
        " WHERE rowid = NEW.rowid;"
        if watch.stamped
        else ""
    )
    statements = []
    for event, when in (("insert", "INSERT"), ("update", f"UPDATE{of}"), ("delete", "DELETE")):
        deleted = event == "delete"
        body = bump.format(topic=watch.topic, first=int(deleted), floor=", floor = version + 1" if deleted else "")
        name = f"proxysite_{watch.table}_{event}"
        statements.append(f"DROP TRIGGER IF EXISTS {name}")
        statements.append(
            f"CREATE TRIGGER {name} AFTER {when} ON {watch.table} BEGIN {body}{'' if deleted else stamp} END"
        )
    return statements


_POSTGRES_FUNCTIONS = [
    """
    CREATE OR REPLACE FUNCTION proxysite_bump() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE gone boolean := TG_OP IN ('DELETE', 'TRUNCATE');
    BEGIN
        INSERT INTO providers_revision AS r (topic, version, floor) VALUES (TG_ARGV[0], 1, gone::int)
        ON CONFLICT (topic) DO UPDATE SET version = r.version + 1,
            floor = CASE WHEN gone THEN r.version + 1 ELSE r.floor END;
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
]


def _postgres(watch: Watch) -> list[str]:
    of = f" OF {', '.join(watch.columns)}" if watch.columns else ""
    wanted = [
        ("write", f"BEFORE INSERT OR UPDATE{of}", "STATEMENT", "bump"),
        ("delete", "AFTER DELETE", "STATEMENT", "bump"),
        ("truncate", "AFTER TRUNCATE", "STATEMENT", "bump"),
    ]
    if watch.stamped:
        wanted.append(("stamp", f"BEFORE INSERT OR UPDATE{of}", "ROW", "stamp"))
    statements = []
    for name, when, level, function in wanted:
        trigger = f"proxysite_{name}"
        statements.append(f"DROP TRIGGER IF EXISTS {trigger} ON {watch.table}")
        statements.append(
            f"CREATE TRIGGER {trigger} {when} ON {watch.table} FOR EACH {level}"
            f" EXECUTE FUNCTION proxysite_{function}('{watch.topic}')"
        )
    return statements
