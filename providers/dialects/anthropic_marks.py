"""Rewrite chat bodies that were made of Messages bodies, for upstreams of other dialects. No I/O.

They carry what only Anthropic's models know, as OpenRouter has it: marks for the prompt cache on
parts, messages and tools, and signed details of thinking. Most other services refuse or miss them.
"""

from typing import Any

from providers.protocol.dialect import Dialect
from providers.protocol.json_types import JsonObject

MARK = "cache_control"
DETAILS = "reasoning_details"
PART_SEPARATOR = "\n\n"
HIGHEST_COMMON_EFFORT = "high"
RARE_EFFORTS = ("xhigh", "max")
SWITCHES = {"enabled": "enabled", "adaptive": "enabled", "disabled": "disabled"}


def rewrite_marked_body(body: JsonObject, dialect: Dialect) -> None:
    """Rewrite the body in place. Its messages and tools are replaced, never changed."""
    rewrite_thinking(body, dialect)
    if not dialect.takes_anthropic_marks:
        body["messages"] = [drop_message_marks(message) for message in body["messages"]]
        if any(MARK in tool for tool in body.get("tools") or ()):
            body["tools"] = [drop_mark(tool) for tool in body["tools"]]


def rewrite_thinking(body: JsonObject, dialect: Dialect) -> None:
    """Say the wish to think as the dialect does: by an effort, or by a switch as well."""
    thinking = body.pop("thinking", None)
    if thinking and dialect.takes_thinking_switch:
        body["thinking"] = {"type": SWITCHES[thinking["type"]]}
    if body.get("reasoning_effort") in RARE_EFFORTS and not dialect.takes_rare_efforts:
        body["reasoning_effort"] = HIGHEST_COMMON_EFFORT


def drop_message_marks(message: JsonObject) -> JsonObject:
    """Return a message without marks, and a content that is only text as one text."""
    changed = {name: value for name, value in message.items() if name not in (MARK, DETAILS)}
    content = message.get("content")
    if isinstance(content, list):
        changed["content"] = simplify_content([drop_mark(part) for part in content])
    return changed


def simplify_content(parts: list[JsonObject]) -> Any:
    """Return parts that are only text as one text, which every service takes."""
    if all(part["type"] == "text" for part in parts):
        return PART_SEPARATOR.join(part["text"] for part in parts)
    return parts


def drop_mark(fields: JsonObject) -> JsonObject:
    if MARK not in fields:
        return fields
    return {name: value for name, value in fields.items() if name != MARK}
