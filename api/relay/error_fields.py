"""The field of an error under the name that the caller knows.

Checks behind the first ones name a message by its place among all messages that the upstream gets.
In a conversation most of these were recalled, and in a response they are items of `input`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from api.responses.request.schema import RENAMED_FIELDS
from conversations.messages.items import COMPACTION_TYPES
from conversations.messages.opaque_text import is_own_opaque_text
from providers.exceptions import GatewayError
from providers.protocol.message_text import SYSTEM_ROLES

MESSAGE_PARAM = re.compile(r"messages\[(\d+)\](.*)", re.DOTALL)
ITEM_ROLES = {
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "reasoning": "assistant",
    "function_call_output": "tool",
    "custom_tool_call_output": "tool",
    "agent_message": "user",
}
# roles whose messages stand elsewhere, and the role of items that no upstream gets
MOVED_ROLES = (*SYSTEM_ROLES, "")


class FieldNames(Protocol):
    """The names under which a caller knows the fields of the chat body."""

    def rename_param(self, error: GatewayError) -> None: ...


class MessagePositions:
    """The places of the caller's own messages among all messages that the upstream gets.

    `field` is the list that holds the caller's messages, `roles` the role of each. `before` is the
    field that brought all other messages. `full_body` is the chat body with all messages, or None
    until it exists.
    """

    def __init__(self, list_field: str, own_roles: Sequence[str], earlier_field: str) -> None:
        self._list_field = list_field
        self._own_roles = own_roles
        self._earlier_field = earlier_field
        self.full_body: Mapping[str, Any] | None = None

    def rename_param(self, error: GatewayError) -> None:
        """Change the error's `param` from the upstream's field to the caller's field."""
        param = error.param or ""
        if found := MESSAGE_PARAM.fullmatch(param):
            error.param = self._caller_param(int(found[1]), found[2])
        elif param in ("messages", "input"):
            error.param = self._list_field
        elif self._list_field == "input" and param in RENAMED_FIELDS:
            error.param = RENAMED_FIELDS[param]

    def _caller_param(self, position: int, rest: str) -> str:
        """Return the caller's name for the message at this place, followed by `rest`."""
        all_roles: list[str] = []
        if self.full_body is not None:
            all_roles = [message["role"] for message in self.full_body["messages"]]
        own_index = find_own_index(all_roles, position, self._own_roles)
        if own_index is None:
            return self._earlier_field
        if self._list_field == "input":  # in `input` a part holds the file itself
            rest = rest.removesuffix(".file").replace(".file.", ".")
        return f"{self._list_field}[{own_index}]{rest}"


def find_own_index(
    all_roles: Sequence[str], wanted_position: int, own_roles: Sequence[str]
) -> int | None:
    """Return the index of the caller's own message at this place; None when it was recalled.

    `all_roles` has the roles of all messages, `own_roles` those of the caller's. The caller's
    messages are the last ones. Instructions stand in front wherever the caller put them, some items
    are left out, and several items of the model become one message.
    """
    own_index = len(own_roles) - 1
    for position in range(len(all_roles) - 1, wanted_position - 1, -1):
        while (
            own_index >= 0
            and own_roles[own_index] in MOVED_ROLES
            and all_roles[position] != own_roles[own_index]
        ):
            own_index -= 1
        if own_index < 0 or own_roles[own_index] != all_roles[position]:
            return None
        if position == wanted_position:
            return own_index
        while (
            own_index > 0
            and own_roles[own_index] == own_roles[own_index - 1] == "assistant"
            and all_roles[position - 1] != "assistant"
        ):
            own_index -= 1
        own_index -= 1
    return None


def locate_chat_messages(body: Mapping[str, Any]) -> MessagePositions:
    """Return the places of a chat body whose conversation is not recalled yet."""
    names = [name for name in ("conversation_id", "session_id") if body.get(name)]
    roles = [message["role"] for message in body["messages"]]
    positions = MessagePositions("messages", roles, names[0] if names else "messages")
    positions.full_body = body
    return positions


def locate_response_items(body: Mapping[str, Any]) -> MessagePositions:
    """Return the places of the body of a response whose references are resolved."""
    given = body.get("input")
    items = given if isinstance(given, list) else [{"role": "user"}]
    roles = [find_item_role(item) for item in items]
    before = next(
        (name for name in ("conversation", "previous_response_id") if body.get(name)), "input"
    )
    return MessagePositions("input", roles, before)


def find_item_role(item: Mapping[str, Any]) -> str:
    """Return the role of the message that an item becomes; empty when it becomes none."""
    kind = item.get("type") or "message"
    if kind in COMPACTION_TYPES:
        return "user" if is_own_opaque_text(item.get("encrypted_content")) else ""
    return str(item["role"]) if kind == "message" else ITEM_ROLES.get(kind, "")
