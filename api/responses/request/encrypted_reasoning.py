"""Thinking as `encrypted_content`, for clients that keep the items themselves and ask for it.

Several clients drop reasoning items without it when nothing is stored. Some upstreams need the
thinking that came before a tool call. Nothing is secret in it: it is the text in base64, behind a
mark by which ours is recognised. Content that another service has sealed stays unchanged. Source:
OpenAI's API reference, "Create a response", `include`.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

INCLUDE_VALUE = "reasoning.encrypted_content"
OWN_PREFIX = "proxysite."


def encode_reasoning(text: str) -> str:
    return OWN_PREFIX + base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


def decode_input_reasoning(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the text of reasoning items that were sealed here."""
    given = body.get("input")
    if not isinstance(given, list):
        return dict(body)
    return {
        **body,
        "input": [
            decode_reasoning_item(item) if item.get("type") == "reasoning" else item
            for item in given
        ],
    }


def decode_reasoning_item(item: dict[str, Any]) -> dict[str, Any]:
    """Return a reasoning item with its text in place of its seal.

    An item that has its text anyway loses only the seal.
    """
    sealed = item.get("encrypted_content") or ""
    if not sealed.startswith(OWN_PREFIX):
        return item
    bare = {name: value for name, value in item.items() if name != "encrypted_content"}
    if item.get("content") or item.get("summary"):
        return bare
    try:
        text = (
            base64.b64decode(sealed.removeprefix(OWN_PREFIX), validate=True)
            .decode()
            .replace("\0", "")
        )
    except (binascii.Error, ValueError):
        return bare
    return {**bare, "content": [{"type": "reasoning_text", "text": text}]}
