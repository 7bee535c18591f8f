"""The words under which items stand in the full-text index, and the writing of their rows.

A text becomes a set of words before a database sees it (`conversations.text.terms`; each character
of scripts without spaces is a word too, so that it is found alone). The owner is one more word,
which no text contains, so that one lookup checks owner and words. In Postgres the owner's span of
item ids is another one.
"""

from collections.abc import Iterable
from itertools import chain

from django.db import connection

from conversations.text.terms import UNSPACED_RUNS, extract_terms

LONGEST_CHARS = 100_000  # a tsvector can hold the words of so much text in any language
ROWS_PER_INSERT = 200
INSERT_SQL = "INSERT INTO conversations_words (item_id, user_id, words) VALUES "
SPAN_BITS = 16  # a span is 65,536 item ids; in Postgres it can be searched by itself


def text_words(text: str) -> list[str]:
    """Return the words by which a text is found, each once."""
    text = text[:LONGEST_CHARS]
    words = set(extract_terms(text))
    if not text.isascii():
        words.update(chain.from_iterable(UNSPACED_RUNS.findall(text)))
    return sorted(words - {""})


def query_words(text: str) -> list[str]:
    """Return the words of a query; an item must have all of them."""
    return [word for word in dict.fromkeys(extract_terms(text)) if word]


def user_word(user_id: int) -> str:
    """Return the word that all items of a user have."""
    return f"§{user_id}"


def span_number(item_id: int) -> int:
    """Return the number of the span of ids that an item is in."""
    return item_id >> SPAN_BITS


def first_id_of_span(span: int) -> int:
    return span << SPAN_BITS


def span_word(user_id: int, item_id: int) -> str:
    """Return the word that a user's items in the same span have in Postgres."""
    return f"§{user_id}/{span_number(item_id)}"


def insert_words(user_id: int, texts: Iterable[tuple[int, str]]) -> None:
    """Write the words of a user's texts, given as (item id, text). Texts without words have no row.

    One statement writes up to ROWS_PER_INSERT rows.
    """
    item_words = [(item_id, words) for item_id, text in texts if (words := text_words(text))]
    placeholder = "(%s, %s, %s)"
    if connection.vendor == "postgresql":
        placeholder = "(%s, %s, array_to_tsvector(%s::text[]))"
    for start in range(0, len(item_words), ROWS_PER_INSERT):
        batch = item_words[start : start + ROWS_PER_INSERT]
        parameters: list[int | str | list[str]] = []
        for item_id, words in batch:
            parameters += (item_id, user_id, build_words_column(user_id, item_id, words))
        with connection.cursor() as cursor:
            cursor.execute(INSERT_SQL + ", ".join([placeholder] * len(batch)), parameters)


def build_words_column(user_id: int, item_id: int, words: list[str]) -> list[str] | str:
    """Return the words of an item and of its owner in the form of the database's column."""
    if connection.vendor == "postgresql":
        return [span_word(user_id, item_id), user_word(user_id), *words]
    return " ".join([user_word(user_id), *words])
