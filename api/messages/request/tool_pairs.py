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
    """Raise InvalidRequest where a call and its result do not stand in neighbouring messages.

    Messages of the system between them do not count. The calls of the last message may be open.
    """
    open_ids: dict[str, str] = {}  # calls without a result, with their places
    for position, message in enumerate(messages):
        if message["role"] == "system":
            continue
        if message["role"] == "assistant":
            require_results(open_ids)
            for place, block in list_blocks(message, "tool_use"):
                open_ids[block["id"]] = f"messages[{position}].content[{place}]"
            continue
        for place, block in list_blocks(message, "tool_result"):
            if open_ids.pop(block["tool_use_id"], None) is None:
                raise InvalidRequest(
                    f"This result is of no call in the previous message: {block['tool_use_id']!r}. "
                    "Each `tool_result` block must have its `tool_use` block there.",
                    param=f"messages[{position}].content[{place}]",
                )
        require_results(open_ids)


def require_results(open_ids: dict[str, str]) -> None:
    if open_ids:
        call_id, place = next(iter(open_ids.items()))
        raise InvalidRequest(
            f"The call {call_id!r} has no result: each `tool_use` block must have a `tool_result` "
            "block in the next message.",
            param=place,
        )
