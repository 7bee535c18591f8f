"""Triggers that count changes of the rows that requests read, for SQLite and Postgres.

A `WatchedTable` names a table, its topic in `providers.Revision` and the columns that matter. Every
insert, delete or update of those columns raises the topic's version, whoever made it (ORM, bulk
import, psql); on Postgres it also sends NOTIFY. A table with `is_stamped` keeps the version of its
last change in each row (`changed`), and each deleted row leaves a `Tombstone` with the version: a
reader asks for rows newer than the version it knows (`changed_rows.py`). On Postgres, TRUNCATE and
a deletion of many rows at once raise the topic's floor instead: a reader with an older version
reads every row again.

The topic's row is locked before any row of the table and until commit. So versions become visible
in order, none is skipped, and two writers never wait for each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from providers.database.triggers import Trigger, TriggerSet

CHANNEL = "proxysite"
LIVE_TOPIC = "live"  # of no table: somebody watches the live board (`announce_viewer`)
TOMBSTONES_AT_ONCE = 5_000  # rows of one statement; beyond it reading the table again is as fast
SQLITE_EVENTS = ("insert", "update", "delete")
POSTGRES_NAMES = ("write", "delete", "truncate", "stamp")
POSTGRES_FUNCTIONS = {
    "proxysite_bump": """
    CREATE OR REPLACE FUNCTION proxysite_bump() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE anew boolean := TG_OP = 'TRUNCATE';
    BEGIN
        INSERT INTO providers_revision AS r (topic, version, floor)
        VALUES (TG_ARGV[0], 1, anew::int)
        ON CONFLICT (topic) DO UPDATE SET version = r.version + 1,
            floor = CASE WHEN anew THEN r.version + 1 ELSE r.floor END;
        PERFORM pg_notify('proxysite', TG_ARGV[0]);
        RETURN NULL;
    END $$
    """,
    "proxysite_stamp": """
    CREATE OR REPLACE FUNCTION proxysite_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.changed := (SELECT version FROM providers_revision WHERE topic = TG_ARGV[0]);
        RETURN NEW;
    END $$
    """,
    "proxysite_bury": f"""
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
    """,
}


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """One table to watch. All names come from this project's code, never from input."""

    table: str
    topic: str
    columns: tuple[str, ...] = ()  # empty: any column
    is_stamped: bool = False


def list_watch_triggers(watches: Iterable[WatchedTable]) -> list[TriggerSet]:
    """Return the triggers of the watched tables, and the functions they call."""
    own_tables = frozenset(("providers_tombstone",))
    functions = TriggerSet(own_tables, functions=POSTGRES_FUNCTIONS)
    return [functions, *(_make_trigger_set(watch, own_tables) for watch in watches)]


def make_drop_set(table: str) -> TriggerSet:
    """Return a set that drops the triggers of a table which an earlier release watched."""
    sqlite = tuple(Trigger(_sqlite_name(table, event), table) for event in SQLITE_EVENTS)
    return TriggerSet(frozenset((table,)), sqlite, _list_postgres_drops(table))


def _make_trigger_set(watch: WatchedTable, own_tables: frozenset[str]) -> TriggerSet:
    return TriggerSet(
        own_tables | {watch.table}, _list_sqlite_triggers(watch), _list_postgres_triggers(watch)
    )


def _sqlite_name(table: str, event: str) -> str:
    return f"proxysite_{table}_{event}"


def _list_postgres_drops(table: str) -> tuple[Trigger, ...]:
    """Return all triggers that a watched table may have had before, to be dropped."""
    return tuple(Trigger(f"proxysite_{name}", table) for name in POSTGRES_NAMES)


def _render_columns(watch: WatchedTable) -> str:
    """Return the clause that restricts an UPDATE trigger to the watched columns."""
    if not watch.columns:
        return ""
    return f" OF {', '.join(watch.columns)}"


def _list_sqlite_triggers(watch: WatchedTable) -> tuple[Trigger, ...]:
    columns = _render_columns(watch)
    version = f"(SELECT version FROM providers_revision WHERE topic = '{watch.topic}')"
    bump = (
        f"INSERT INTO providers_revision (topic, version, floor) VALUES ('{watch.topic}', 1, 0) "
        "ON CONFLICT (topic) DO UPDATE SET version = version + 1;"
    )
    stamp = f" UPDATE {watch.table} SET changed = {version} WHERE rowid = NEW.rowid;"
    bury = (
        " INSERT INTO providers_tombstone (topic, row_id, version, deleted_at)"
        f" VALUES ('{watch.topic}', OLD.id, {version}, strftime('%Y-%m-%d %H:%M:%f', 'now'));"
    )
    triggers = []
    for event, when, stamped_body in (
        ("insert", "INSERT", stamp),
        ("update", f"UPDATE{columns}", stamp),
        ("delete", "DELETE", bury),
    ):
        name = _sqlite_name(watch.table, event)
        body = bump
        if watch.is_stamped:
            body += stamped_body
        definition = f"AFTER {when} ON {watch.table} BEGIN {body} END"
        triggers.append(Trigger(name, watch.table, definition))
    return tuple(triggers)


def _list_postgres_triggers(watch: WatchedTable) -> tuple[Trigger, ...]:
    table = watch.table
    topic = f"'{watch.topic}'"
    columns = _render_columns(watch)
    bump = f"FOR EACH STATEMENT EXECUTE FUNCTION proxysite_bump({topic})"
    stamp = f"FOR EACH ROW EXECUTE FUNCTION proxysite_stamp({topic})"
    bury = f"FOR EACH STATEMENT EXECUTE FUNCTION proxysite_bury({topic})"
    definitions = {
        "write": f"BEFORE INSERT OR DELETE OR UPDATE{columns} ON {table} {bump}",
        "truncate": f"AFTER TRUNCATE ON {table} {bump}",
    }
    if watch.is_stamped:
        definitions["stamp"] = f"BEFORE INSERT OR UPDATE{columns} ON {table} {stamp}"
        definitions["delete"] = f"AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone {bury}"
    created = (
        Trigger(f"proxysite_{name}", table, definition) for name, definition in definitions.items()
    )
    return (*_list_postgres_drops(table), *created)
