"""The full-text index: one row of `conversations_words` for each item, and queries for items.

A text becomes a set of words before a database sees it (`conversations.text.terms`; each character
of scripts without spaces is a word too, so that it is found alone). The owner is one more word,
which no text contains, so that one lookup checks owner and words. Postgres uses a tsvector with a
GIN index, SQLite uses FTS5 over the same table. Triggers delete a row when its item is deleted, in
whatever way.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from conversations.text.terms import UNSPACED_RUNS, extract_terms
from providers.database.triggers import (
    Trigger,
    TriggerSet,
    drop_triggers,
    execute_statements,
    install_triggers,
)

LONGEST_CHARS = 100_000  # a tsvector can hold the words of so much text in any language
ROWS_AT_A_TIME = 200  # rows of one statement
RECENT_ITEMS = 2_000  # newest items that are scanned before the index is used
SPAN_BITS = 16  # a span is 65,536 item ids; in Postgres it can be searched by itself
RECENT_SPANS = 16  # newest spans that are searched one by one, before all older ones together
MERGED_PAGES = 200  # of SQLite's index in one go, so that other writers do not wait long
# from 3.42 on, FTS5 can erase deleted words at once; older versions do it when merging
HAS_SECURE_DELETE = sqlite3.sqlite_version_info >= (
    3,
    42,
)
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
    # `find_postgres` handles frequent words better than a planner that knows which these are
    "ALTER TABLE conversations_words ALTER COLUMN words SET STATISTICS 0",
)
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
MERGE_SQL = (
    "INSERT INTO conversations_words_index (conversations_words_index, rank) VALUES ('merge', %s)"
)


# --- the tables -----------------------------------------------------------------------------------
def create(database: BaseDatabaseWrapper) -> None:
    """Create the tables and their triggers, for the migration. Writes the schema alone."""
    execute_statements(
        database, POSTGRES_STATEMENTS if database.vendor == "postgresql" else SQLITE_STATEMENTS
    )
    install_triggers(database, [TRIGGERS])


def drop(database: BaseDatabaseWrapper) -> None:
    """Drop the triggers and the tables, for the migration. Writes the schema alone."""
    drop_triggers(database, TRIGGERS)
    tables = ("conversations_words",) if database.vendor == "postgresql" else SQLITE_TABLES
    execute_statements(database, [f"DROP TABLE {table}" for table in tables])


# --- words ----------------------------------------------------------------------------------------
def text_words(text: str) -> list[str]:
    """Return the words by which a text is found, each once."""
    text = text[:LONGEST_CHARS]
    alone = () if text.isascii() else chain.from_iterable(UNSPACED_RUNS.findall(text))
    return sorted({word for word in chain(extract_terms(text), alone) if word})


def user_word(user_id: int) -> str:
    return f"§{user_id}"


def span_word(user_id: int, item_id: int) -> str:
    return f"§{user_id}/{item_id >> SPAN_BITS}"


def query_words(text: str) -> list[str]:
    """Return the words of a query; an item must have all of them."""
    return [word for word in dict.fromkeys(extract_terms(text)) if word]


# --- rows -----------------------------------------------------------------------------------------
def insert_words(user_id: int, texts: Iterable[tuple[int, str]]) -> None:
    """Write the words of texts, given as (item id, text), AT_A_TIME rows in one statement."""
    rows = [
        (item_id, [user_word(user_id), *words])
        for item_id, text in texts
        if (words := text_words(text))
    ]
    postgres = connection.vendor == "postgresql"
    if postgres:
        rows = [(item_id, [span_word(user_id, item_id), *words]) for item_id, words in rows]
    value = "(%s, %s, array_to_tsvector(%s::text[]))" if postgres else "(%s, %s, %s)"
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        some = rows[start : start + ROWS_AT_A_TIME]
        given = (
            (item_id, user_id, words if postgres else " ".join(words)) for item_id, words in some
        )
        statement = "INSERT INTO conversations_words (item_id, user_id, words) VALUES "
        with connection.cursor() as cursor:
            cursor.execute(
                statement + ", ".join([value] * len(some)), list(chain.from_iterable(given))
            )


# --- finding --------------------------------------------------------------------------------------
def find_item_ids(
    user_id: int | None, wanted_words: Sequence[str], limit: int, before_id: int
) -> list[int]:
    """Return the ids of items that have all `wanted_words` words (`query_words`), newest first.

    Only ids below `before_id`, at most `limit`; the items of all users for None.
    """
    seek = find_postgres if connection.vendor == "postgresql" else find_sqlite
    return seek(user_id, wanted_words, limit, before_id)


# A scan of the newest items soon finds frequent words; the index has few rows of rare ones. Spans
# are for words that were frequent in the past: the index returns all rows of a word, which would
# be too many to fetch.
RECENT_SCAN_SQL = """
    SELECT item_id FROM (
        SELECT item_id, words FROM conversations_words
        WHERE {mine} item_id < %s ORDER BY item_id DESC LIMIT %s
    ) recent WHERE words @@ %s::tsquery ORDER BY item_id DESC LIMIT %s
"""
POSTGRES_SEARCH_SQL = """
    WITH found AS MATERIALIZED (
        SELECT item_id FROM conversations_words WHERE words @@ %s::tsquery AND {mine} item_id < %s
    ) SELECT item_id FROM found ORDER BY item_id DESC LIMIT %s
"""
SQLITE_SEARCH_SQL = """
    SELECT item_id FROM conversations_words_index
    JOIN conversations_words ON item_id = conversations_words_index.rowid
    WHERE conversations_words_index MATCH %s AND {mine} conversations_words_index.rowid < %s
    ORDER BY conversations_words_index.rowid DESC LIMIT %s
"""


def find_postgres(
    user_id: int | None, wanted_words: Sequence[str], limit: int, before_id: int
) -> list[int]:
    mine, who = owner_condition(user_id)
    query = " & ".join(f"'{word}'" for word in wanted_words)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(
            RECENT_SCAN_SQL.format(mine=mine), [*who, before_id, RECENT_ITEMS, query, limit]
        )
        found = [item_id for (item_id,) in cursor.fetchall()]
        if len(found) == limit:
            return found
        found = []
        for owned, below in list_span_searches(cursor, user_id, before_id):
            asked = f"{owned}{query}"
            cursor.execute(
                POSTGRES_SEARCH_SQL.format(mine=mine), [asked, *who, below, limit - len(found)]
            )
            found += [item_id for (item_id,) in cursor.fetchall()]
            if len(found) == limit:
                break
    return found


def list_span_searches(
    cursor: Any, user_id: int | None, before_id: int
) -> Iterator[tuple[str, int]]:
    """Yield the index searches to make, newest first.

    Each is the beginning of a query and the id below which to search.
    """
    if user_id is None:
        yield "", before_id
        return
    cursor.execute(
        "SELECT max(item_id) FROM conversations_words WHERE user_id = %s AND item_id < %s",
        [user_id, before_id],
    )
    newest = cursor.fetchone()[0] or 0
    last = newest >> SPAN_BITS
    for span in range(last, max(-1, last - RECENT_SPANS), -1):
        yield f"'{span_word(user_id, span << SPAN_BITS)}' & ", before_id
    if last >= RECENT_SPANS:
        yield f"'{user_word(user_id)}' & ", min(before_id, last - RECENT_SPANS + 1 << SPAN_BITS)


def find_sqlite(
    user_id: int | None, wanted_words: Sequence[str], limit: int, before_id: int
) -> list[int]:
    mine, who = owner_condition(user_id)
    words = wanted_words if user_id is None else [user_word(user_id), *wanted_words]
    query = " AND ".join(f'"{word}"' for word in words)
    with connection.cursor() as cursor:
        cursor.execute(SQLITE_SEARCH_SQL.format(mine=mine), [query, *who, before_id, limit])
        return [item_id for (item_id,) in cursor.fetchall()]


def owner_condition(user_id: int | None) -> tuple[str, list[int]]:
    return ("", []) if user_id is None else ("user_id = %s AND", [user_id])


# --- what deleted words leave ---------------------------------------------------------------------
def remove_deleted_words(seconds: float) -> bool:
    """Merge SQLite's index to erase deleted words, for at most `seconds`.

    Returns whether nothing is left to do. SQLite before 3.42 keeps deleted words in its index until
    its parts are merged. In Postgres, autovacuum removes them as in any table.
    """
    if connection.vendor == "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM conversations_words_left")
        if cursor.fetchone() is None:
            return True
        end = time.monotonic() + seconds
        pages = -MERGED_PAGES
        cursor.execute("DELETE FROM conversations_words_left")
        while merge_pages(cursor, pages):
            pages = MERGED_PAGES
            if time.monotonic() > end:
                cursor.execute("INSERT OR IGNORE INTO conversations_words_left (id) VALUES (1)")
                return False
    return True


def merge_pages(cursor: Any, pages: int) -> bool:
    """Merge some pages and return whether there was something to do.

    A negative number of pages starts a merge of the whole index.
    """
    own = cast(sqlite3.Connection, connection.connection)
    before = own.total_changes
    cursor.execute(MERGE_SQL, [pages])
    return own.total_changes - before > 1
