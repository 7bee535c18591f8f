"""Mark the places of a Messages body up to which Anthropic shall cache it. No I/O.

A model's row asks for this with the option {"cache_control": "auto"}; a body in which the caller
has marked a place itself stays as it is. Source: Anthropic's API reference, "Prompt caching".
"""

from collections.abc import Iterator

from providers.adapters.anthropic.content_blocks import MARK_FIELD
from providers.protocol.json_types import JsonObject

MARK: JsonObject = {"type": "ephemeral"}


def add_cache_marks(payload: JsonObject) -> None:
    """Mark the last tool, the end of the system prompt and of the last user message, in place."""
    if has_cache_marks(payload):
        return
    if payload.get("tools"):
        *tools, last = payload["tools"]
        payload["tools"] = [*tools, last | {MARK_FIELD: MARK}]
    if payload.get("system"):
        payload["system"][-1][MARK_FIELD] = MARK
    for message in reversed(payload["messages"]):
        if message["role"] == "user":
            message["content"][-1][MARK_FIELD] = MARK
            break


def has_cache_marks(payload: JsonObject) -> bool:
    """Return whether a Messages body has a cache mark anywhere."""
    return MARK_FIELD in payload or any(MARK_FIELD in block for block in find_blocks(payload))


def find_blocks(payload: JsonObject) -> Iterator[JsonObject]:
    """Yield everything in a Messages body that may be marked."""
    yield from payload.get("tools") or ()
    yield from payload.get("system") or ()
    for message in payload["messages"]:
        for block in message["content"]:
            yield block
            if isinstance(block.get("content"), list):
                yield from block["content"]
