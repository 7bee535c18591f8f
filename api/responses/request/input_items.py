"""The items of a response's `input`, and references to stored items.

Accepted are messages, function calls and their outputs, reasoning, and references. Messages and
references may leave their type out. Items of hosted tools are refused, because no upstream here
could continue with them. Source: OpenAI's API reference, "Create a response", `input`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from api.schemas.item_inputs import check_item
from providers.exceptions import InvalidRequest, UnknownUrl
from providers.protocol.json_types import JsonObject

Item = JsonObject
ACCEPTED_ITEM_TYPES = ("message", "function_call", "function_call_output", "reasoning")
LONGEST_ID_CHARS = 200


def check_input_items(items: list[Item]) -> None:
    """Raise InvalidRequest, with the place in `param`, unless all items are accepted."""
    for position, item in enumerate(items):
        path = f"input[{position}]"
        if is_item_reference(item):
            check_item_reference(item, path)
            continue
        item_type = item.get("type", "message")
        if isinstance(item_type, str) and item_type not in ACCEPTED_ITEM_TYPES:
            message = f"Items of the type {item_type[:64]!r} are not supported here."
            raise InvalidRequest(message, param=path, code="unsupported_parameter")
        check_item(item, path)


def check_item_reference(item: Item, path: str) -> None:
    item_id = item.get("id")
    if not isinstance(item_id, str) or not 1 <= len(item_id) <= LONGEST_ID_CHARS:
        raise InvalidRequest("A reference has the id of an item.", param=f"{path}.id")


def is_item_reference(item: Item) -> bool:
    if item.get("type") is None:
        return "role" not in item and "id" in item
    return bool(item["type"] == "item_reference")


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
