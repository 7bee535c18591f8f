"""Render the answer of a stored completion as its caller received it."""

from collections.abc import Iterable, Sequence

from conversations.messages.items import (
    CALL_TYPES,
    ItemLike,
    read_refusal,
    read_thinking,
    read_tool_call,
)
from conversations.messages.items_to_chat import SAME_NAMES
from providers.protocol.json_types import JsonObject


def render_answer(output: Iterable[ItemLike]) -> JsonObject:
    """Return the message of a stored completion's first choice.

    `output` are the items of the answer. Unlike `items_to_chat.entries_to_messages`, which is for
    upstreams, this includes all reasoning, and also calls that were cut off.
    """
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    for item in output:
        if item.type == "reasoning":
            thinking = read_thinking(item.data)
            message["reasoning_content"] = message.get("reasoning_content", "") + thinking
        elif item.type == "message":
            add_parts(message, item.data.get("content") or [])
        elif item.type in CALL_TYPES:
            message.setdefault("tool_calls", []).append(read_tool_call(item.data, SAME_NAMES))
    return message


def add_parts(message: JsonObject, parts: Sequence[JsonObject]) -> None:
    """Add texts, refusals and annotations of an item to the message of a completion."""
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    if texts:
        message["content"] = (message["content"] or "") + "".join(texts)
    message["refusal"] = read_refusal(parts) or message["refusal"]
    annotations = [note for part in parts for note in part.get("annotations") or ()]
    if annotations:
        message["annotations"] = [*message.get("annotations", ()), *annotations]
