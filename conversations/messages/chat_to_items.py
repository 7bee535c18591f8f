"""Convert chat messages to items, without loss; `items_to_chat.py` converts them back.

One message becomes one or several items. Source: OpenAI's API reference, "Chat completions".
"""

from collections.abc import Iterable, Iterator, Sequence

from conversations.messages.items import Entry, make_call_entry, make_reasoning_entry
from providers.filters.file_parts import read_file_fields
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import Content, join_texts

# fields of a message that have a place of their own in items
MESSAGE_FIELDS = (
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "refusal",
    "reasoning_content",
    "reasoning",
)


def entries_from_messages(messages: Iterable[JsonObject]) -> list[Entry]:
    """Return the items of chat messages, in their order."""
    return [entry for message in messages for entry in entries_from_message(message)]


def entries_from_message(message: JsonObject) -> Iterator[Entry]:
    """Yield the items of one chat message."""
    if message["role"] == "tool":
        yield make_tool_output_entry(message)
    elif message["role"] == "assistant":
        yield from entries_from_answer(message)
    else:
        parts = convert_content(message.get("content"), "input")
        yield make_message_entry(message, parts)


def make_tool_output_entry(message: JsonObject) -> Entry:
    output = convert_tool_output(message.get("content"))
    data = {
        **select_other_fields(message),
        "type": "function_call_output",
        "call_id": message.get("tool_call_id") or "",
        "output": output,
    }
    return Entry("function_call_output", message["role"], data, join_texts(output))


def entries_from_answer(message: JsonObject) -> Iterator[Entry]:
    """Yield the items of a message of the model: its thinking, its text and its tool calls."""
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        yield make_reasoning_entry(str(thought))
    parts = convert_content(message.get("content"), "output")
    if refusal := message.get("refusal"):
        parts.append({"type": "refusal", "refusal": refusal})
    if parts or select_other_fields(message):
        yield make_message_entry(message, parts)
    for call in message.get("tool_calls") or ():
        yield make_call_entry(call)


def make_message_entry(message: JsonObject, parts: list[JsonObject]) -> Entry:
    role = message["role"]
    data = {"type": "message", "role": role, "content": parts, **select_other_fields(message)}
    return Entry("message", role, data, join_texts(parts))


def select_other_fields(message: JsonObject) -> JsonObject:
    """Return the fields of a message that no item has a place for."""
    return {
        name: value
        for name, value in message.items()
        if name not in MESSAGE_FIELDS and value is not None
    }


def convert_tool_output(content: Content | None) -> Content:
    """Return a tool's output: its text, or Responses parts."""
    if isinstance(content, list):
        return [convert_chat_part(part, "input") for part in content]
    return content or ""


def convert_content(content: Content | None, direction: str) -> list[JsonObject]:
    """Return a message's content as Responses parts; `direction` is input or output."""
    return [convert_chat_part(part, direction) for part in list_content_parts(content)]


def list_content_parts(content: Content | None) -> Sequence[JsonObject]:
    """Return a message's content as chat parts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content or ()


def convert_chat_part(part: JsonObject, direction: str) -> JsonObject:
    """Return a chat part as a Responses part; `direction` is input or output."""
    match part.get("type"):
        case "text":
            return convert_text_part(part, direction)
        case "image_url":
            return convert_image_part(part)
        case "file":
            return {"type": "input_file", **read_file_fields(part)}
    return part


def convert_text_part(part: JsonObject, direction: str) -> JsonObject:
    text_part = {**part, "type": f"{direction}_text"}
    if direction == "output":
        text_part["annotations"] = part.get("annotations") or []
    return text_part


def convert_image_part(part: JsonObject) -> JsonObject:
    image = part["image_url"]
    if not isinstance(image, dict):
        image = {"url": image}
    image_part = {
        "type": "input_image",
        "image_url": image.get("url"),
        "detail": image.get("detail") or "auto",
    }
    others = {name: value for name, value in part.items() if name not in ("type", "image_url")}
    return image_part | others
