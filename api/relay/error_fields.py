"""Name the field of an error as the caller knows it.

What is refused behind the first checks is named by its place among all messages that the upstream
is told. In a conversation most of them were recalled, and in a response they are items of `input`.
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
    """The caller's own messages: `roles` of each, in the list `field`; `before` names what brought
    all others.

    `told` is the chat body with all messages, or None until there is one.
    """

    def __init__(self, field: str, roles: Sequence[str], before: str) -> None:
        self._field = field
        self._roles = roles
        self._before = before
        self.told: Mapping[str, Any] | None = None

    def rename(self, error: GatewayError) -> None:
        """Change the error's `param` to the caller's own field, where it names one of the
        upstream's.
        """
        param = error.param or ""
        if found := PLACE.fullmatch(param):
            error.param = self._own_place(int(found[1]), found[2])
        elif param in ("messages", "input"):
            error.param = self._field
        elif self._field == "input" and param in MOVED:
            error.param = MOVED[param]

    def _own_place(self, place: int, rest: str) -> str:
        """The caller's name for a message at this place and what is in it."""
        told = (
            [message["role"] for message in self.told["messages"]] if self.told is not None else []
        )
        own = own_place(told, place, self._roles)
        if own is None:
            return self._before
        if self._field == "input":  # a file stands in a part there, not in a field of it
            rest = rest.removesuffix(".file").replace(".file.", ".")
        return f"{self._field}[{own}]{rest}"


def own_place(told: Sequence[str], place: int, own: Sequence[str]) -> int | None:
    """Return which of the own roles stands at this place of all that is told; None when it was
    recalled.

    The own ones are the last that are told. Instructions stand in front wherever they were given,
    and several items of the model become one message.
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
    """The places of a chat body before its conversation is recalled."""
    before = next(
        (name for name in ("conversation_id", "session_id") if body.get(name)), "messages"
    )
    places = OwnPlaces("messages", [message["role"] for message in body["messages"]], before)
    places.told = body
    return places


def of_response(body: Mapping[str, Any]) -> OwnPlaces:
    """The places of a response's body whose references are resolved."""
    given = body.get("input")
    items = given if isinstance(given, list) else [{"role": "user"}]
    roles = [ROLES.get(item.get("type") or "message") or str(item.get("role")) for item in items]
    before = next(
        (name for name in ("conversation", "previous_response_id") if body.get(name)), "input"
    )
    return OwnPlaces("input", roles, before)
