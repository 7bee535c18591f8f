"""Find the ids of items in the full-text index, in Postgres and in SQLite.

In Postgres, a scan of the newest items soon finds frequent words; the index has few rows of rare
ones. Spans are for words that were frequent in the past: the index returns all rows of a word,
which would be too many to fetch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from conversations.search.index_words import first_id_of_span, span_number, span_word, user_word

RECENT_ITEMS = 2_000  # newest items that are scanned before the index is used
RECENT_SPANS = 16  # newest spans that are searched one by one, before all older ones together
RECENT_SCAN_SQL = """
    SELECT item_id FROM (
        SELECT item_id, words FROM conversations_words
        WHERE {owner_condition} item_id < %s ORDER BY item_id DESC LIMIT %s
    ) recent WHERE words @@ %s::tsquery ORDER BY item_id DESC LIMIT %s
"""
POSTGRES_SEARCH_SQL = """
    WITH found AS MATERIALIZED (
        SELECT item_id FROM conversations_words
        WHERE words @@ %s::tsquery AND {owner_condition} item_id < %s
    ) SELECT item_id FROM found ORDER BY item_id DESC LIMIT %s
"""
NEWEST_ITEM_SQL = "SELECT max(item_id) FROM conversations_words WHERE user_id = %s AND item_id < %s"
SQLITE_SEARCH_SQL = """
    SELECT item_id FROM conversations_words_index
    JOIN conversations_words ON item_id = conversations_words_index.rowid
    WHERE conversations_words_index MATCH %s
    AND {owner_condition} conversations_words_index.rowid < %s
    ORDER BY conversations_words_index.rowid DESC LIMIT %s
"""


class WordSearch(NamedTuple):
    """One search: items of a user (None: of all users) with all `words`.

    `words` are as `index_words.query_words` returns them. Only ids below `before_id` are found, at
    most `limit`.
    """

    user_id: int | None
    words: Sequence[str]
    limit: int
    before_id: int

    def render_sql(self, template: str) -> str:
        """Return a statement for the items of the user, or of all."""
        return template.format(owner_condition="" if self.user_id is None else "user_id = %s AND")

    @property
    def owner_parameters(self) -> list[int]:
        return [] if self.user_id is None else [self.user_id]


def find_item_ids(search: WordSearch) -> list[int]:
    """Return the ids of the items that a search finds, newest first."""
    if connection.vendor == "postgresql":
        return find_in_postgres(search)
    return find_in_sqlite(search)


def find_in_postgres(search: WordSearch) -> list[int]:
    """Scan the newest items; when these are not enough, use the index."""
    tsquery = " & ".join(f"'{word}'" for word in search.words)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(
            search.render_sql(RECENT_SCAN_SQL),
            [*search.owner_parameters, search.before_id, RECENT_ITEMS, tsquery, search.limit],
        )
        recent_ids = fetch_ids(cursor)
        if len(recent_ids) == search.limit:
            return recent_ids
        return search_spans(cursor, search, tsquery)


def search_spans(cursor: CursorWrapper, search: WordSearch, tsquery: str) -> list[int]:
    """Search the index span by span, newest first, until there are enough items."""
    item_ids: list[int] = []
    for owner_query, before_id in list_span_searches(cursor, search):
        cursor.execute(
            search.render_sql(POSTGRES_SEARCH_SQL),
            [
                f"{owner_query}{tsquery}",
                *search.owner_parameters,
                before_id,
                search.limit - len(item_ids),
            ],
        )
        item_ids += fetch_ids(cursor)
        if len(item_ids) == search.limit:
            break
    return item_ids


def list_span_searches(cursor: CursorWrapper, search: WordSearch) -> Iterator[tuple[str, int]]:
    """Yield the index searches to make, newest first.

    Each is the beginning of a tsquery and the id below which to search.
    """
    user_id = search.user_id
    if user_id is None:
        yield "", search.before_id
        return
    cursor.execute(NEWEST_ITEM_SQL, [user_id, search.before_id])
    newest_id = cursor.fetchone()[0] or 0
    last_span = span_number(newest_id)
    for span in range(last_span, max(-1, last_span - RECENT_SPANS), -1):
        yield f"'{span_word(user_id, first_id_of_span(span))}' & ", search.before_id
    if last_span >= RECENT_SPANS:
        oldest_recent_id = first_id_of_span(last_span - RECENT_SPANS + 1)
        yield f"'{user_word(user_id)}' & ", min(search.before_id, oldest_recent_id)


def find_in_sqlite(search: WordSearch) -> list[int]:
    words = list(search.words)
    if search.user_id is not None:
        words.insert(0, user_word(search.user_id))
    match_query = " AND ".join(f'"{word}"' for word in words)
    with connection.cursor() as cursor:
        cursor.execute(
            search.render_sql(SQLITE_SEARCH_SQL),
            [match_query, *search.owner_parameters, search.before_id, search.limit],
        )
        return fetch_ids(cursor)


def fetch_ids(cursor: CursorWrapper) -> list[int]:
    return [item_id for (item_id,) in cursor.fetchall()]
