"""Read the items of a page: which of a turn with very many, and their data within a budget.

Texts are cut by the database. An item may hold images of megabytes, so its data is read only
while the page has room for it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import TextField
from django.db.models.functions import Cast, Left, Length

from conversations.admin.thread import item_view
from conversations.admin.thread.item_view import ItemView, describe_item
from conversations.messages.items import CALL_TYPES
from conversations.models import Item
from providers.protocol.json_types import JsonObject

FIRST_ITEMS = 20  # of a turn with more than TURN_ITEMS
LAST_ITEMS = 40
AROUND_HIT = 5  # items on each side of one that a search found
TURN_ITEMS = FIRST_ITEMS + LAST_ITEMS
SMALL_DATA_CHARS = 30_000  # data of items up to this length is read together
PAGE_DATA_CHARS = 16 * 2**20  # of larger data on one page; images beyond it are only mentioned


def list_item_ids(turn_ids: Iterable[UUID]) -> dict[UUID, list[int]]:
    """Return the ids of all items of these turns."""
    ids: defaultdict[UUID, list[int]] = defaultdict(list)
    rows = Item.objects.filter(turn__in=list(turn_ids)).order_by("pk")
    for turn_id, pk in rows.values_list("turn_id", "pk"):
        ids[turn_id].append(pk)
    return ids


def choose_items(ids: Sequence[int], hit: int | None) -> list[int]:
    """Return the ids that the page shows: all, or the first, the last and those around the hit."""
    if len(ids) <= TURN_ITEMS:
        return list(ids)
    chosen = {*ids[:FIRST_ITEMS], *ids[-LAST_ITEMS:]}
    if hit in ids:
        position = ids.index(hit)
        chosen.update(ids[max(0, position - AROUND_HIT) : position + AROUND_HIT + 1])
    return sorted(chosen)


def load_items(ids: Sequence[int], hit: int | None = None) -> dict[int, ItemView]:
    """Return the items of these ids for the template."""
    rows = list(
        Item.objects.filter(pk__in=ids)
        .annotate(
            chars=Length("text"),
            cut_text=Left("text", item_view.SHOWN_CHARS),
            data_chars=Length(Cast("data", TextField())),
        )
        .defer("text", "data", "hidden_thinking")
        .order_by("pk")
    )
    data_by_id = load_data(rows)
    tool_names = {
        str(data["call_id"]): str(data.get("name") or "")
        for row in rows
        if row.type in CALL_TYPES and (data := data_by_id.get(row.pk)) and "call_id" in data
    }
    views = {row.pk: describe_item(row, data_by_id.get(row.pk), tool_names) for row in rows}
    if hit in views:
        views[hit].is_hit = True
    return views


def load_data(rows: Sequence[Any]) -> dict[int, JsonObject]:
    """Return the data of the items, without that of large ones that the page has no room for."""
    small_ids = [row.pk for row in rows if row.data_chars <= SMALL_DATA_CHARS]
    room = PAGE_DATA_CHARS
    for row in rows:
        if row.data_chars > SMALL_DATA_CHARS and row.data_chars <= room:
            room -= row.data_chars
            small_ids.append(row.pk)
    return dict(Item.objects.filter(pk__in=small_ids).values_list("pk", "data"))
