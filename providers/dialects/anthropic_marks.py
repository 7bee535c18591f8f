"""Rewrite chat bodies that were made of Messages bodies, for upstreams of other dialects. No I/O.

They carry what only Anthropic's models know, as OpenRouter has it: signed details of thinking, and
parts in place of one text, for the marks of the prompt cache on them. Most other services refuse or
miss them. The marks themselves are removed from every body (`rewrite_body.py`).
"""

from typing import Any

from providers.protocol.dialect import Dialect
from providers.protocol.json_types import JsonObject

DETAILS = "reasoning_details"
PART_SEPARATOR = "\n\n"
HIGHEST_COMMON_EFFORT = "high"
RARE_EFFORTS = ("xhigh", "max")
SWITCHES = {"enabled": "enabled", "adaptive": "enabled", "disabled": "disabled"}


def rewrite_marked_body(body: JsonObject, dialect: Dialect) -> None:
    """Rewrite the body in place. Its messages and tools are replaced, never changed."""
    rewrite_thinking(body, dialect)
    if not dialect.takes_cache_control:
        body["messages"] = [simplify_message(message) for message in body["messages"]]


def rewrite_thinking(body: JsonObject, dialect: Dialect) -> None:
    """Say the wish to think as the dialect does: by an effort, or by a switch as well."""
    thinking = body.pop("thinking", None)
    if thinking and dialect.takes_thinking_switch:
        body["thinking"] = {"type": SWITCHES[thinking["type"]]}
    if body.get("reasoning_effort") in RARE_EFFORTS and not dialect.takes_rare_efforts:
        body["reasoning_effort"] = HIGHEST_COMMON_EFFORT


def simplify_message(message: JsonObject) -> JsonObject:
    """Return a message without details of thinking, and a content that is only text as one text."""
    changed = {name: value for name, value in message.items() if name != DETAILS}
    content = message.get("content")
    if isinstance(content, list):
        changed["content"] = simplify_content(content)
    return changed


def simplify_content(parts: list[JsonObject]) -> Any:
    """Return parts that are only text as one text, which every service takes."""
    if all(part["type"] == "text" for part in parts):
        return PART_SEPARATOR.join(part["text"] for part in parts)
    return parts
