"""The field of an error under the name that a caller of the Messages API knows."""

import re
from collections.abc import Sequence

from providers.exceptions import GatewayError

MESSAGE_PARAM = re.compile(r"messages\[(\d+)\](.*)", re.DOTALL)
INDEX = re.compile(r"\[(\d+)\]")
PART_INDEX = re.compile(r"\.content\[(\d+)\]")
# fields of a chat body -> the field of a Messages body of which they are made
RENAMED_FIELDS = {
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "response_format": "output_config.format",
    "reasoning_effort": "output_config.effort",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "web_search_options": "tools",
    "max_completion_tokens": "max_tokens",
}


def rename_field(param: str) -> str:
    """Return a place in a body as Anthropic writes it: `messages.0.content.1`."""
    return INDEX.sub(r".\1", param).lstrip(".")


class ChatPlace:
    """The place of a chat message in the Messages body: a message, and the block of each part."""

    __slots__ = ("blocks", "path")

    def __init__(self, path: str, blocks: Sequence[int] = ()) -> None:
        self.path = path  # messages[3], or system
        self.blocks = blocks


class MessagesPositions:
    """The places of all messages of the chat body in the caller's body."""

    def __init__(self, places: Sequence[ChatPlace]) -> None:
        self._places = places

    def rename_param(self, error: GatewayError) -> None:
        """Change the error's `param` from the chat body's field to the caller's field."""
        param = error.param or ""
        if match := MESSAGE_PARAM.fullmatch(param):
            error.param = self._find_place(int(match[1]), match[2])
        else:
            name, dot, rest = param.partition(".")
            error.param = RENAMED_FIELDS.get(name, name) + dot + rest or None

    def _find_place(self, index: int, rest: str) -> str:
        """Return the place of a chat message, with the block of its part if `rest` names one."""
        if index >= len(self._places):
            return "messages"
        place = self._places[index]
        part = PART_INDEX.match(rest)
        if part is None:
            return place.path
        part_index = int(part[1])
        if part_index >= len(place.blocks):
            return place.path
        name = place.path if place.path == "system" else f"{place.path}.content"
        return f"{name}[{place.blocks[part_index]}]"
