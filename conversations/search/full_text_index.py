"""The tables of the full-text index: one row of `conversations_words` for each item.

Postgres uses a tsvector with a GIN index, SQLite uses FTS5 over the same table. Triggers delete a
row when its item is deleted, in whatever way. `index_words.py` writes the rows, `index_queries.py`
finds items, `index_cleanup.py` erases deleted words.
"""

import sqlite3

from django.db.backends.base.base import BaseDatabaseWrapper

from providers.database.triggers import (
    Trigger,
    TriggerSet,
    drop_triggers,
    execute_statements,
    install_triggers,
)

# from 3.42 on, FTS5 can erase deleted words at once; older versions do it when merging
HAS_SECURE_DELETE = sqlite3.sqlite_version_info >= (3, 42, 0)
POSTGRES_STATEMENTS = (
    (
        "CREATE TABLE conversations_words (item_id bigint PRIMARY KEY, user_id bigint NOT NULL, "
        "words tsvector NOT NULL)"
    ),
    "CREATE INDEX conversations_words_user ON conversations_words (user_id, item_id)",
    # each insert does its own work, 2 ms for two items; with fastupdate, one insert in many would
    # take 100 ms
    (
        "CREATE INDEX conversations_words_words ON conversations_words USING gin (words) WITH "
        "(fastupdate = off)"
    ),
    # `index_queries.find_in_postgres` handles frequent words better than a planner that knows them
    "ALTER TABLE conversations_words ALTER COLUMN words SET STATISTICS 0",
)
POSTGRES_TABLES = ("conversations_words",)
SQLITE_STATEMENTS = (
    (
        "CREATE TABLE conversations_words (item_id integer PRIMARY KEY, user_id integer NOT NULL, "
        "words text NOT NULL)"
    ),
    # has a row while the index needs a merge
    "CREATE TABLE conversations_words_left (id integer PRIMARY KEY)",
    (
        "CREATE VIRTUAL TABLE conversations_words_index USING fts5 (words, content = "
        "'conversations_words',"
        " content_rowid = 'item_id', tokenize = 'ascii', detail = 'none', columnsize = 0)"
    ),
)
SQLITE_TABLES = ("conversations_words_index", "conversations_words_left", "conversations_words")
SECURE_DELETE_SQL = (
    "INSERT INTO conversations_words_index (conversations_words_index, rank) VALUES "
    "('secure-delete', 1)"
)
ITEMS_TABLE = "conversations_item"
DELETE_WORDS_SQL = "DELETE FROM conversations_words WHERE item_id = OLD.id;"
TRIGGER_CALL_SQL = "FOR EACH STATEMENT EXECUTE FUNCTION conversations_forget_words()"
TRIGGER_FUNCTION_SQL = """
CREATE OR REPLACE FUNCTION conversations_forget_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        TRUNCATE conversations_words;
    ELSE
        DELETE FROM conversations_words WHERE item_id = ANY (ARRAY(SELECT id FROM gone));
    END IF;
    RETURN NULL;
END $$
"""
TRIGGERS = TriggerSet(
    frozenset((ITEMS_TABLE, "conversations_words")),
    sqlite=(
        Trigger(
            "conversations_item_words",
            ITEMS_TABLE,
            f"AFTER DELETE ON {ITEMS_TABLE} BEGIN {DELETE_WORDS_SQL} END",
        ),
        Trigger(
            "conversations_words_insert",
            "conversations_words",
            "AFTER INSERT ON conversations_words BEGIN"
            " INSERT INTO conversations_words_index (rowid, words)"
            " VALUES (NEW.item_id, NEW.words); END",
        ),
        Trigger(
            "conversations_words_delete",
            "conversations_words",
            "AFTER DELETE ON conversations_words BEGIN"
            " INSERT INTO conversations_words_index (conversations_words_index, rowid, words)"
            " VALUES ('delete', OLD.item_id, OLD.words);"
            " INSERT OR IGNORE INTO conversations_words_left (id) VALUES (1); END",
        ),
    ),
    postgres=(
        Trigger(
            "conversations_words_delete",
            ITEMS_TABLE,
            f"AFTER DELETE ON {ITEMS_TABLE} REFERENCING OLD TABLE AS gone {TRIGGER_CALL_SQL}",
        ),
        Trigger(
            "conversations_words_truncate",
            ITEMS_TABLE,
            f"AFTER TRUNCATE ON {ITEMS_TABLE} {TRIGGER_CALL_SQL}",
        ),
    ),
    functions={"conversations_forget_words": TRIGGER_FUNCTION_SQL},
    sqlite_settings=(SECURE_DELETE_SQL,) if HAS_SECURE_DELETE else (),
)


def create(database: BaseDatabaseWrapper) -> None:
    """Create the tables and their triggers, for the migration. Writes the schema alone."""
    is_postgres = database.vendor == "postgresql"
    execute_statements(database, POSTGRES_STATEMENTS if is_postgres else SQLITE_STATEMENTS)
    install_triggers(database, [TRIGGERS])


def drop(database: BaseDatabaseWrapper) -> None:
    """Drop the triggers and the tables, for the migration. Writes the schema alone."""
    drop_triggers(database, TRIGGERS)
    tables = POSTGRES_TABLES if database.vendor == "postgresql" else SQLITE_TABLES
    execute_statements(database, [f"DROP TABLE {table}" for table in tables])
