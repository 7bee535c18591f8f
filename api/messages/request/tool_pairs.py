"""Check that each call has its result, and each result its call, where they must stand.

Source: Anthropic's documentation, "Handle tool calls".
"""

from collections.abc import Sequence

from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject


def list_blocks(message: JsonObject, kind: str) -> list[tuple[int, JsonObject]]:
    """Return the blocks of a type with their places in the message."""
    content = message["content"]
    if not isinstance(content, list):
        return []
    return [(place, block) for place, block in enumerate(content) if block["type"] == kind]


def check_pairs(messages: Sequence[JsonObject]) -> None:
    """Raise InvalidRequest where calls and their results do not stand in neighbouring turns.

    Messages of one role in a row are one turn; messages of the system do not count. The calls of
    the last turn may be open.
    """
    open_ids: dict[str, str] = {}  # calls without a result, with their places
    last_role = ""
    for position, message in enumerate(messages):
        role = message["role"]
        if role == "system":
            continue
        if role == "assistant":
            if last_role == "user":
                require_results(open_ids)
            for place, block in list_blocks(message, "tool_use"):
                open_ids[block["id"]] = f"messages[{position}].content[{place}]"
        else:
            take_results(message, position, open_ids)
        last_role = role
    if last_role == "user":
        require_results(open_ids)


def take_results(message: JsonObject, position: int, open_ids: dict[str, str]) -> None:
    """Take the calls out of `open_ids` whose results are in this message."""
    for place, block in list_blocks(message, "tool_result"):
        if open_ids.pop(block["tool_use_id"], None) is None:
            raise InvalidRequest(
                f"This result is of no call in the previous message: {block['tool_use_id']!r}. "
                "Each `tool_result` block must have its `tool_use` block there.",
                param=f"messages[{position}].content[{place}]",
            )


def require_results(open_ids: dict[str, str]) -> None:
    """Raise InvalidRequest when there is a call without a result."""
    if open_ids:
        call_id, place = next(iter(open_ids.items()))
        raise InvalidRequest(
            f"The call {call_id!r} has no result: each `tool_use` block must have a `tool_result` "
            "block in the next message.",
            param=place,
        )
