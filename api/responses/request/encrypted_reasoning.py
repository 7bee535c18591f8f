"""Thinking as `encrypted_content`, for clients that keep the items themselves and ask for it.

Several clients drop reasoning items without it when nothing is stored. Some upstreams need the
thinking that came before a tool call. `conversations/messages/opaque_text.py` says how it is
written. Source: OpenAI's API reference, "Create a response", `include`.
"""

from collections.abc import Mapping

from conversations.messages.opaque_text import decode_opaque_text, is_own_opaque_text
from providers.protocol.json_types import JsonObject

INCLUDE_VALUE = "reasoning.encrypted_content"


def decode_input_reasoning(body: Mapping[str, object]) -> JsonObject:
    """Return the body with the text of reasoning items in place of our `encrypted_content`."""
    items = body.get("input")
    if not isinstance(items, list):
        return dict(body)
    return {**body, "input": [decode_reasoning_item(item) for item in items]}


def decode_reasoning_item(item: JsonObject) -> JsonObject:
    """Return a reasoning item with its text in place of our `encrypted_content`.

    An item that has its text anyway loses only that field. Other items stay unchanged.
    """
    if item.get("type") != "reasoning" or not is_own_opaque_text(item.get("encrypted_content")):
        return item
    decoded = {name: value for name, value in item.items() if name != "encrypted_content"}
    if item.get("content") or item.get("summary"):
        return decoded
    text = decode_opaque_text(item["encrypted_content"])
    if not text:
        return decoded
    return {**decoded, "content": [{"type": "reasoning_text", "text": text}]}
