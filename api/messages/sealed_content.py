"""Signatures of our own, in which clients of the Messages API keep what has no place there.

Anthropic signs the thinking of its models and clients send it back unread. Thinking of other models
gets a signature of ours, by which it is recognised when it comes back: it is never sent to
Anthropic, which could not verify it. Fields that another upstream wants back with a call or with
its thinking are in the data of a redacted block. Nothing in them is secret
(`conversations/messages/opaque_text.py`).
"""

import orjson

from conversations.messages.opaque_text import (
    decode_opaque_text,
    encode_opaque_text,
    is_own_opaque_text,
)
from providers.protocol.json_types import JsonObject

FORMAT = "anthropic-claude-v1"  # OpenRouter's name of Anthropic's details of reasoning


def seal_fields(fields: JsonObject) -> str:
    """Return data of a redacted block that keeps these fields."""
    return encode_opaque_text(orjson.dumps(fields).decode())


def open_fields(data: str) -> JsonObject:
    """Return the fields of data that `seal_fields` made; empty when they cannot be read."""
    try:
        fields = orjson.loads(decode_opaque_text(data))
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def is_own_thinking(block: JsonObject) -> bool:
    """Return whether a block of thinking has a signature, or data, of ours."""
    if block.get("type") == "thinking":
        return is_own_opaque_text(block.get("signature"))
    return block.get("type") == "redacted_thinking" and is_own_opaque_text(block.get("data"))
