"""Erase deleted words from the full-text index.

SQLite before 3.42 keeps deleted words in its index until its parts are merged. In Postgres,
autovacuum removes them as in any table.
"""

import sqlite3
import time
from typing import cast

from django.db import connection
from django.db.backends.utils import CursorWrapper

MERGED_PAGES = 200  # of SQLite's index in one go, so that other writers do not wait long
MERGE_SQL = (
    "INSERT INTO conversations_words_index (conversations_words_index, rank) VALUES ('merge', %s)"
)
# conversations_words_left has a row while a merge is due
SELECT_DUE_SQL = "SELECT 1 FROM conversations_words_left"
MARK_DUE_SQL = "INSERT OR IGNORE INTO conversations_words_left (id) VALUES (1)"
MARK_DONE_SQL = "DELETE FROM conversations_words_left"


def remove_deleted_words(seconds: float) -> bool:
    """Merge SQLite's index to erase deleted words, for at most `seconds`.

    Returns whether nothing is left to do.
    """
    if connection.vendor == "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute(SELECT_DUE_SQL)
        if cursor.fetchone() is None:
            return True
        return merge_index(cursor, seconds)


def merge_index(cursor: CursorWrapper, seconds: float) -> bool:
    """Merge pages until nothing is left to do; return False when the time is over before."""
    end = time.monotonic() + seconds
    pages = -MERGED_PAGES
    cursor.execute(MARK_DONE_SQL)
    while merge_pages(cursor, pages):
        pages = MERGED_PAGES
        if time.monotonic() > end:
            cursor.execute(MARK_DUE_SQL)
            return False
    return True


def merge_pages(cursor: CursorWrapper, pages: int) -> bool:
    """Merge some pages and return whether there was something to do.

    A negative number of pages starts a merge of the whole index.
    """
    sqlite_connection = cast(sqlite3.Connection, connection.connection)
    changes_before = sqlite_connection.total_changes
    cursor.execute(MERGE_SQL, [pages])
    return sqlite_connection.total_changes - changes_before > 1
