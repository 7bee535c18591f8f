"""The search box of the list of conversations: ids, users and words, without special forms.

A text is tried as each of them. Words are looked up in the full-text index, in any language; a
hit leads to its place in the thread.
"""

from collections.abc import Mapping
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from conversations.models import Conversation, Item, Turn
from conversations.search.item_search import ItemHit, search_items

MAX_HITS = 200  # items that a search for words finds at most
LONGEST_TERM = 200  # text that is searched for
LONGEST_NAME = 150  # of a user
MOST_USERS = 100  # whose names begin with the text
WORDS_PREFIX = "text:"  # earlier releases wanted it before words
TURN_PREFIXES = ("resp_", "chatcmpl-", "req_")
ITEM_PREFIXES = ("msg_", "rs_", "fc_", "fco_", "ctc_", "ctco_", "cmp_", "item_")
Hits = Mapping[str, ItemHit]  # the newest hit of each conversation


def find_hits(term: str) -> Hits:
    """Return the newest item of each conversation that has all words of the text."""
    hits: dict[str, ItemHit] = {}
    for hit in search_items(None, term.removeprefix(WORDS_PREFIX), MAX_HITS):
        hits.setdefault(hit.conversation.pk, hit)
    return hits


def filter_conversations(
    rows: QuerySet[Conversation], term: str, hits: Hits
) -> QuerySet[Conversation]:
    """Return the conversations that a search text finds, with those of the hits."""
    if (turn_id := parse_turn_id(term)) is not None:
        return rows.filter(pk__in=Turn.objects.filter(pk=turn_id).values("conversation_id"))
    if term.startswith(ITEM_PREFIXES):
        items = Item.objects.filter(public_id=term)
        return rows.filter(pk__in=items.values("conversation_id"))
    # conditions on columns with an index, each of its own, so that no search reads the whole table
    condition = Q(pk__in=[term, *hits])
    if user_ids := find_users(term):
        condition |= Q(user__in=user_ids)
    return rows.filter(condition)


def find_users(term: str) -> list[int]:
    """Return the ids of some users whose name begins with the text."""
    if len(term) > LONGEST_NAME or term.startswith(WORDS_PREFIX):
        return []
    users = User.objects.filter(username__startswith=term).order_by("username")
    return list(users.values_list("pk", flat=True)[:MOST_USERS])


def parse_turn_id(term: str) -> UUID | None:
    """Return the id of the turn that an id of a response, a completion or a request names."""
    prefix = next((prefix for prefix in TURN_PREFIXES if term.startswith(prefix)), None)
    if prefix is None:
        return None
    try:
        return UUID(hex=term.removeprefix(prefix))
    except ValueError:
        return None
