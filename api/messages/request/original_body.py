"""The caller's own Messages body, for upstreams that speak Anthropic's dialect.

Source: Anthropic's documentation, "Versions" and "Beta headers"; Claude Code's, "LLM gateway
protocol".
"""

from collections.abc import Mapping
from typing import Any

from api.messages.sealed_content import is_own_thinking
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.request import ANTHROPIC, OriginalBody

VERSION_HEADER = "HTTP_ANTHROPIC_VERSION"
FORWARDED_HEADERS = {
    VERSION_HEADER: "anthropic-version",
    "HTTP_ANTHROPIC_BETA": "anthropic-beta",
}
SIGNED_TYPES = ("thinking", "redacted_thinking")


def build_original(body: JsonObject, meta: Mapping[str, Any]) -> OriginalBody:
    """Return the body as the caller sent it, with the headers that go with it.

    Thinking that Anthropic has not signed is left out. `meta` has the headers as Django names them.
    Raises InvalidRequest for a header that cannot go on.
    """
    headers = tuple(
        (name, str(meta[key])) for key, name in FORWARDED_HEADERS.items() if meta.get(key)
    )
    for name, value in headers:
        if not (value.isascii() and value.isprintable()):  # else the token would be blamed for it
            raise InvalidRequest(f"The header {name} must be printable ASCII.", param=name)
    return OriginalBody(ANTHROPIC, drop_own_thinking(body), headers)


def drop_own_thinking(body: JsonObject) -> FrozenJsonObject:
    """Return the body without thinking of other models; the same object where there is none."""
    messages = [drop_message_thinking(message) for message in body["messages"]]
    if all(new is old for new, old in zip(messages, body["messages"], strict=True)):
        return body
    return {**body, "messages": messages}


def drop_message_thinking(message: JsonObject) -> JsonObject:
    """Return a message without thinking of other models; the same one without any."""
    content = message["content"]
    if message["role"] != "assistant" or not isinstance(content, list):
        return message
    kept = [block for block in content if not is_unsigned(block)]
    return message if len(kept) == len(content) else {**message, "content": kept}


def is_unsigned(block: JsonObject) -> bool:
    """Return whether a block is thinking that Anthropic has not signed."""
    if block["type"] == "thinking" and not block.get("signature"):
        return True
    return block["type"] in SIGNED_TYPES and is_own_thinking(block)
