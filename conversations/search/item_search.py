"""Search the items of conversations.

`add_items_to_index` makes written items findable, `search_items` returns the items with all words
of a query, in any order and any language, newest first. The index of words
(`conversations/search/full_text_index.py`) gives the ids; the texts come from the items themselves.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Left, Now

from conversations.models import Conversation, Item
from conversations.search import full_text_index
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
    longest = settings.SEARCH_TEXT_CHARS
    full_text_index.insert_words(
        user_id, ((item.pk, item.text[:longest]) for item in items if item.text)
    )


def search_items(
    user_id: int | None, text: str, limit: int, before_id: int | None = None
) -> list[ItemHit]:
    """Return a user's items (of all users for None) with all words of `text`, newest first.

    At most `limit` items. `before_id` is the id of the last item of an earlier page. A text without
    any word finds nothing.
    """
    wanted = full_text_index.query_words(text[:QUERY_CHARS])[:QUERY_WORDS]
    hits: list[ItemHit] = []
    last = LARGEST_ID if before_id is None else before_id
    while wanted and len(hits) < limit:
        ids = full_text_index.find_item_ids(user_id, wanted, limit, last)
        hits += [build_hit(item, wanted) for item in load_visible_items(user_id, ids)]
        if len(ids) < limit:
            break
        last = ids[-1]  # items of expired conversations were left out
    return hits[:limit]


def load_visible_items(user_id: int | None, ids: Sequence[int]) -> list[Item]:
    """Return the items of these ids that may still be shown, newest first."""
    alive = Q(conversation__expires_at=None) | Q(conversation__expires_at__gt=Now())
    found = Item.objects.filter(alive, pk__in=ids)
    if user_id is not None:
        found = found.filter(conversation__user_id=user_id)
    said = Left("text", settings.SEARCH_TEXT_CHARS)
    return list(
        found.select_related("conversation")
        .annotate(said=said)
        .defer("text", "data")
        .order_by("-pk")
    )


def build_hit(item: Item, wanted_words: Sequence[str]) -> ItemHit:
    return ItemHit(item, item.conversation, build_snippet(item.said, wanted_words))  # type: ignore[attr-defined]


# --- excerpts -------------------------------------------------------------------------------------
def build_snippet(text: str, wanted_words: Sequence[str]) -> str:
    """Return some of the text around the first of the words, on one line."""
    at = locate_first_word(text, wanted_words)
    start = max(0, at - BEFORE_CHARS)
    if start and (space := text.find(" ", start, at)) >= 0:
        start = space + 1
    piece = " ".join(text[start : start + SNIPPET_CHARS].split())
    return f"{'…' if start else ''}{piece}{'…' if start + SNIPPET_CHARS < len(text) else ''}"


def locate_first_word(text: str, wanted_words: Sequence[str]) -> int:
    """Return the position of the first of the words, 0 when none is located."""
    forms = (
        re.escape(word) if UNSPACED_RUNS.match(word) else rf"(?<!\w){re.escape(word)}"
        for word in wanted_words
    )
    if seen := re.search("|".join(forms), text, re.IGNORECASE):
        return seen.start()
    known = set(wanted_words)  # the text has other accents, endings or letter widths than the query
    found = (
        match.start()
        for match in WORDS.finditer(text)
        if known.intersection(extract_terms(match.group()))
    )
    return next(found, 0)
