"""The object that a compaction is: the user's messages, then one item for everything else.

Source: OpenAI's API reference, "The compacted response object".
"""

from collections.abc import Iterable

from conversations.messages.items import ItemLike, make_public_id
from conversations.messages.opaque_text import encode_opaque_text
from providers.protocol.json_types import JsonObject


def build_compaction_object(
    request_hex: str, created_at: int, output: list[JsonObject], usage: JsonObject | None
) -> JsonObject:
    """Return the object; `created_at` is in Unix seconds, `usage` as in a response."""
    return {
        "id": f"resp_{request_hex}",
        "object": "response.compaction",
        "created_at": created_at,
        "output": output,
        "usage": usage,
    }


def build_compacted_items(
    request_hex: str, items: Iterable[ItemLike], summary: str
) -> list[JsonObject]:
    """Return the user messages among the items, then the compaction with the summary."""
    messages = [item for item in items if item.type == "message" and item.role == "user"]
    output: list[JsonObject] = [
        {"id": make_public_id("message", request_hex, place), "status": "completed", **message.data}
        for place, message in enumerate(messages)
    ]
    compaction_id = make_public_id("compaction", request_hex, len(output))
    content = encode_opaque_text(summary)
    return [*output, {"id": compaction_id, "type": "compaction", "encrypted_content": content}]
