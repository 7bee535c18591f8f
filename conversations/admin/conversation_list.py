"""The list of conversations: its rows have the sums of their turns, and the hit of the search."""

from typing import Any, cast

from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse

from conversations.admin.content_rights import may_read_content
from conversations.admin.conversation_columns import TurnSums, sum_turns
from conversations.admin.conversation_search import Hits
from conversations.models import Conversation
from conversations.search.item_search import ItemHit
from providers.admin.big_tables import BigTableList

HITS_ATTRIBUTE = "conversation_hits"  # of the request, where the search leaves them


def get_hits(request: HttpRequest) -> Hits:
    """Return the hits of this request's search for words."""
    hits: Hits = getattr(request, HITS_ATTRIBUTE, {})
    return hits


class ConversationList(BigTableList):
    """A page of the list; each row has `turn_sums` and `hit`, and a title for those who read."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page, then the sums and hits that belong to them."""
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        sums = sum_turns(rows, cast(User, request.user))
        hits = get_hits(request)
        may_read = may_read_content(request)
        for row in rows:
            row.title = row.title if may_read else ""
            row.turn_sums = sums[row.pk]
            row.hit = hits.get(row.pk)
        self.result_list = rows

    def url_for_result(self, result: Any) -> str:
        """Return the address of a conversation; after a search for words, of the hit's place."""
        address = reverse("admin:conversations_conversation_change", args=[quote(result.pk)])
        if result.hit is None:
            return address
        item = result.hit.item.pk
        return f"{address}?hit={item}#item-{item}"


def get_turn_sums(row: Conversation) -> TurnSums:
    """Return the sums that the list has read for a row."""
    sums: TurnSums = getattr(row, "turn_sums", TurnSums())
    return sums


def get_hit(row: Conversation) -> ItemHit | None:
    """Return the hit of the search in a row, if there is one."""
    hit: ItemHit | None = getattr(row, "hit", None)
    return hit
