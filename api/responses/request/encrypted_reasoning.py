"""Thinking as `encrypted_content`, for clients that keep the items themselves and ask for it.

Several clients drop reasoning items without it when nothing is stored. Some upstreams need the
thinking that came before a tool call. Nothing is secret in it: it is the text in base64, behind a
mark by which ours is recognised. Content that another service has encrypted stays unchanged.
Source: OpenAI's API reference, "Create a response", `include`.
"""

import base64
import binascii
from collections.abc import Mapping

from providers.protocol.json_types import JsonObject

INCLUDE_VALUE = "reasoning.encrypted_content"
OWN_PREFIX = "proxysite."


def encode_reasoning(text: str) -> str:
    return OWN_PREFIX + base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


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
    if item.get("type") != "reasoning":
        return item
    encrypted = item.get("encrypted_content") or ""
    if not encrypted.startswith(OWN_PREFIX):
        return item
    decoded = {name: value for name, value in item.items() if name != "encrypted_content"}
    if item.get("content") or item.get("summary"):
        return decoded
    try:
        text = base64.b64decode(encrypted.removeprefix(OWN_PREFIX), validate=True).decode()
    except (binascii.Error, ValueError):
        return decoded
    text = text.replace("\0", "")
    return {**decoded, "content": [{"type": "reasoning_text", "text": text}]}
