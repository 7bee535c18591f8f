"""Search the items of conversations.

`add_items_to_index` makes written items findable, `search_items` returns the items with all words
of a query, in any order and any language, newest first. The full-text index gives the ids
(`index_queries.py`); the texts come from the items themselves.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Left, Now

from conversations.models import Conversation, Item
from conversations.search.index_queries import WordSearch, find_item_ids
from conversations.search.index_words import insert_words, query_words
from conversations.text.terms import UNSPACED_RUNS, WORDS, extract_terms

QUERY_CHARS = 500
QUERY_WORDS = 64
LARGEST_ID = 2**63 - 1
SNIPPET_CHARS = 240
BEFORE_CHARS = 60  # of the snippet, before the first word that was found


@dataclass(frozen=True, slots=True)
class ItemHit:
    """An item that was found, without its data.

    `snippet` is plain text around the first of the words.
    """

    item: Item
    conversation: Conversation
    snippet: str


def add_items_to_index(user_id: int, items: Sequence[Item]) -> None:
    """Write a user's items into the index, in the transaction that inserts them."""
    max_chars = settings.SEARCH_TEXT_CHARS
    insert_words(user_id, ((item.pk, item.text[:max_chars]) for item in items if item.text))


def search_items(
    user_id: int | None, text: str, limit: int, before_id: int | None = None
) -> list[ItemHit]:
    """Return a user's items (of all users for None) with all words of `text`, newest first.

    At most `limit` items. `before_id` is the id of the last item of an earlier page. A text without
    any word finds nothing.
    """
    words = query_words(text[:QUERY_CHARS])[:QUERY_WORDS]
    hits: list[ItemHit] = []
    if before_id is None:
        before_id = LARGEST_ID
    while words and len(hits) < limit:
        item_ids = find_item_ids(WordSearch(user_id, words, limit, before_id))
        hits += [build_hit(item, words) for item in load_visible_items(user_id, item_ids)]
        if len(item_ids) < limit:
            break
        before_id = item_ids[-1]  # items of expired conversations were left out
    return hits[:limit]


def load_visible_items(user_id: int | None, item_ids: Sequence[int]) -> list[Item]:
    """Return the items of these ids that may still be shown, newest first.

    Each has the beginning of its text as `indexed_text`.
    """
    is_alive = Q(conversation__expires_at=None) | Q(conversation__expires_at__gt=Now())
    items = Item.objects.filter(is_alive, pk__in=item_ids)
    if user_id is not None:
        items = items.filter(conversation__user_id=user_id)
    return list(
        items.select_related("conversation")
        .annotate(indexed_text=Left("text", settings.SEARCH_TEXT_CHARS))
        .defer("text", "data")
        .order_by("-pk")
    )


def build_hit(item: Item, words: Sequence[str]) -> ItemHit:
    indexed_text: str = item.indexed_text  # type: ignore[attr-defined]
    return ItemHit(item, item.conversation, build_snippet(indexed_text, words))


# --- snippets -------------------------------------------------------------------------------------
def build_snippet(text: str, words: Sequence[str]) -> str:
    """Return some of the text around the first of the words, on one line."""
    word_start = locate_first_word(text, words)
    start = max(0, word_start - BEFORE_CHARS)
    if start and (space := text.find(" ", start, word_start)) >= 0:
        start = space + 1
    end = start + SNIPPET_CHARS
    snippet = " ".join(text[start:end].split())
    if start:
        snippet = f"…{snippet}"
    if end < len(text):
        snippet = f"{snippet}…"
    return snippet


def locate_first_word(text: str, words: Sequence[str]) -> int:
    """Return the position of the first of the words, 0 when none is located."""
    match = re.search("|".join(map(build_word_pattern, words)), text, re.IGNORECASE)
    if match:
        return match.start()
    # the text has other accents, endings or letter widths than the query
    wanted = set(words)
    for match in WORDS.finditer(text):
        if wanted.intersection(extract_terms(match.group())):
            return match.start()
    return 0


def build_word_pattern(word: str) -> str:
    """Return a regular expression for a word; in scripts with spaces, for its beginning."""
    pattern = re.escape(word)
    return pattern if UNSPACED_RUNS.match(word) else rf"(?<!\w){pattern}"
