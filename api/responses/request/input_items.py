"""The items of a response's `input`, and references to stored items.

Accepted are messages, function calls and their outputs, reasoning, and references. Messages and
references may leave their type out. Items of hosted tools are refused, because no upstream here
could continue with them. Source: OpenAI's API reference, "Create a response", `input`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from api.schemas.item_inputs import check_item
from providers.exceptions import InvalidRequest, UnknownUrl

Item = dict[str, Any]
ACCEPTED_ITEM_TYPES = ("message", "function_call", "function_call_output", "reasoning")
LONGEST_ID_CHARS = 200


def check_input_items(items: list[Item]) -> None:
    """Raise InvalidRequest, with the place in `param`, unless all items are accepted."""
    for position, item in enumerate(items):
        place = f"input[{position}]"
        kind = item.get("type", "message")
        if is_item_reference(item):
            if (
                not isinstance(given := item.get("id"), str)
                or not 1 <= len(given) <= LONGEST_ID_CHARS
            ):
                raise InvalidRequest("A reference has the id of an item.", param=f"{place}.id")
            continue
        if isinstance(kind, str) and kind not in ACCEPTED_ITEM_TYPES:
            why = f"Items of the type {kind[:64]!r} are not supported here."
            raise InvalidRequest(why, param=place, code="unsupported_parameter")
        check_item(item, place)


def is_item_reference(item: Item) -> bool:
    if item.get("type") is None:
        return "role" not in item and "id" in item
    return bool(item["type"] == "item_reference")


def find_item_references(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of items that the input only refers to, by their places."""
    return {f"input[{at}].id": item["id"] for at, item in iterate_item_references(body)}


def resolve_item_references(
    body: Mapping[str, Any], items_by_id: Mapping[str, Item]
) -> dict[str, Any]:
    """Return the body with the caller's own items in place of references.

    `items_by_id` has the items by their ids. Raises UnknownUrl for an id that is not among them.
    """
    known: dict[int, Item] = {}
    for at, item in iterate_item_references(body):
        if item["id"] not in items_by_id:
            why = f"There is no item {item['id']!r}."
            raise UnknownUrl(why, param=f"input[{at}].id", code="item_not_found")
        known[at] = items_by_id[item["id"]]
    if not known:
        return dict(body)
    return {**body, "input": [known.get(at, item) for at, item in enumerate(body["input"])]}


def iterate_item_references(body: Mapping[str, Any]) -> Iterator[tuple[int, Item]]:
    given = body.get("input")
    if isinstance(given, list):
        yield from ((at, item) for at, item in enumerate(given) if is_item_reference(item))
