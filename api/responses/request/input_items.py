"""The items of a response's `input`, and references to stored items.

Accepted are all types that OpenAI documents, and those that its own clients send. Messages and
references may leave their type out. The model gets messages, calls and their outputs, and
reasoning. Items of tools that OpenAI runs are passed over, because no upstream here could continue
with them, and a client cannot take them out of its history. Source: OpenAI's API reference,
"Create a response", `input`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from api.schemas.item_inputs import check_item
from conversations.messages.items import CALL_KINDS, OUTPUT_TYPES
from providers.exceptions import InvalidRequest, UnknownUrl
from providers.protocol.json_types import JsonObject

Item = JsonObject
COMPACTION_TRIGGER = "compaction_trigger"
LONGEST_ID_CHARS = 200  # of the id of a stored item, which is ours


def ends_with_trigger(body: Mapping[str, Any]) -> bool:
    """Return whether the request only asks for a compaction of its conversation."""
    items = body.get("input")
    return isinstance(items, list) and bool(items) and items[-1].get("type") == COMPACTION_TRIGGER


def check_input_items(items: list[Item]) -> None:
    """Raise InvalidRequest, with the place in `param`, unless all items are accepted."""
    for position, item in enumerate(items):
        path = f"input[{position}]"
        if is_item_reference(item):
            check_item_reference(item, path)
        else:
            check_item(item, path)
        if item.get("type") == COMPACTION_TRIGGER and position < len(items) - 1:
            raise InvalidRequest("A compaction_trigger is the last item.", param=path)


def check_item_reference(item: Item, path: str) -> None:
    item_id = item.get("id")
    if not isinstance(item_id, str) or not 1 <= len(item_id) <= LONGEST_ID_CHARS:
        raise InvalidRequest("A reference has the id of an item.", param=f"{path}.id")


def is_item_reference(item: Item) -> bool:
    if item.get("type") is None:
        return "role" not in item and "id" in item
    return bool(item["type"] == "item_reference")


def drop_hosted_outputs(body: Mapping[str, Any]) -> JsonObject:
    """Return the body without the outputs of calls that are passed over.

    Clients answer some calls of hosted tools with the output of a function.
    """
    items = body.get("input")
    if not isinstance(items, list):
        return dict(body)
    hosted_ids = find_call_ids(item for item in items if item.get("type") not in CALL_KINDS)
    hosted_ids -= find_call_ids(item for item in items if item.get("type") in CALL_KINDS)
    if not hosted_ids:
        return dict(body)
    kept_items = [
        item
        for item in items
        if item.get("type") not in OUTPUT_TYPES or item.get("call_id") not in hosted_ids
    ]
    return {**body, "input": kept_items}


def find_call_ids(items: Iterable[Item]) -> set[str]:
    """Return the ids of the calls among the items; outputs have no call of their own."""
    return {
        item["call_id"]
        for item in items
        if isinstance(item.get("call_id"), str) and str(item.get("type")).endswith("_call")
    }


def find_item_references(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of items that the input only refers to, by their places."""
    return {f"input[{position}].id": item["id"] for position, item in iterate_item_references(body)}


def resolve_item_references(body: Mapping[str, Any], items_by_id: Mapping[str, Item]) -> JsonObject:
    """Return the body with the caller's own items in place of references.

    `items_by_id` has the items by their ids. Raises UnknownUrl for an id that is not among them.
    """
    resolved: dict[int, Item] = {}
    for position, item in iterate_item_references(body):
        if item["id"] not in items_by_id:
            message = f"There is no item {item['id']!r}."
            raise UnknownUrl(message, param=f"input[{position}].id", code="item_not_found")
        resolved[position] = items_by_id[item["id"]]
    if not resolved:
        return dict(body)
    items = [resolved.get(position, item) for position, item in enumerate(body["input"])]
    return {**body, "input": items}


def iterate_item_references(body: Mapping[str, Any]) -> Iterator[tuple[int, Item]]:
    items = body.get("input")
    if isinstance(items, list):
        for position, item in enumerate(items):
            if is_item_reference(item):
                yield position, item
