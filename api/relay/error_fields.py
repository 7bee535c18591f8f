"""The field of an error under the name that the caller knows.

Checks behind the first ones name a message by its place among all messages that the upstream gets.
In a conversation most of these were recalled, and in a response they are items of `input`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from api.responses.schema import MOVED
from providers.exceptions import GatewayError
from providers.protocol.message_text import SYSTEM_ROLES

PLACE = re.compile(r"messages\[(\d+)\](.*)", re.DOTALL)
ROLES = {"function_call": "assistant", "reasoning": "assistant", "function_call_output": "tool"}


class OwnPlaces:
    """The places of the caller's own messages among all messages that the upstream gets.

    `field` is the list that holds the caller's messages, `roles` the role of each. `before` is the
    field that brought all other messages. `told` is the chat body with all messages, or None until
    it exists.
    """

    def __init__(self, field: str, roles: Sequence[str], before: str) -> None:
        self._field = field
        self._roles = roles
        self._before = before
        self.told: Mapping[str, Any] | None = None

    def rename(self, error: GatewayError) -> None:
        """Change the error's `param` from the upstream's field to the caller's field."""
        param = error.param or ""
        if found := PLACE.fullmatch(param):
            error.param = self._own_place(int(found[1]), found[2])
        elif param in ("messages", "input"):
            error.param = self._field
        elif self._field == "input" and param in MOVED:
            error.param = MOVED[param]

    def _own_place(self, place: int, rest: str) -> str:
        """Return the caller's name for the message at this place, followed by `rest`."""
        told = (
            [message["role"] for message in self.told["messages"]] if self.told is not None else []
        )
        own = own_place(told, place, self._roles)
        if own is None:
            return self._before
        if self._field == "input":  # in `input` a part holds the file itself
            rest = rest.removesuffix(".file").replace(".file.", ".")
        return f"{self._field}[{own}]{rest}"


def own_place(told: Sequence[str], place: int, own: Sequence[str]) -> int | None:
    """Return the index of the caller's own message at this place; None when it was recalled.

    `told` has the roles of all messages, `own` those of the caller's. The caller's messages are the
    last ones. Instructions stand in front wherever the caller put them, and several items of the
    model become one message.
    """
    at = len(own) - 1
    for position in range(len(told) - 1, place - 1, -1):
        while at >= 0 and own[at] in SYSTEM_ROLES and told[position] != own[at]:
            at -= 1
        if at < 0 or own[at] != told[position]:
            return None
        if position == place:
            return at
        while (
            at > 0 and own[at] == own[at - 1] == "assistant" and told[position - 1] != "assistant"
        ):
            at -= 1
        at -= 1
    return None


def of_chat(body: Mapping[str, Any]) -> OwnPlaces:
    """Return the places of a chat body whose conversation is not recalled yet."""
    before = next(
        (name for name in ("conversation_id", "session_id") if body.get(name)), "messages"
    )
    places = OwnPlaces("messages", [message["role"] for message in body["messages"]], before)
    places.told = body
    return places


def of_response(body: Mapping[str, Any]) -> OwnPlaces:
    """Return the places of the body of a response whose references are resolved."""
    given = body.get("input")
    items = given if isinstance(given, list) else [{"role": "user"}]
    roles = [ROLES.get(item.get("type") or "message") or str(item.get("role")) for item in items]
    before = next(
        (name for name in ("conversation", "previous_response_id") if body.get(name)), "input"
    )
    return OwnPlaces("input", roles, before)
