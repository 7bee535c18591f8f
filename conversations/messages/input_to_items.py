"""Convert the `input` of a response to items. Source: OpenAI's API reference, "Responses"."""

from conversations.messages.chat_to_items import convert_content
from conversations.messages.items import Entry, read_thinking
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts


def entries_from_input(response_input: str | list[JsonObject]) -> list[Entry]:
    """Return the items of a validated `input`."""
    if isinstance(response_input, str):
        response_input = [{"role": "user", "content": response_input}]
    return [entry_from_item(item) for item in response_input]


def entry_from_item(item: JsonObject) -> Entry:
    """Return one item of the input as an entry, without its id.

    An answer that was cut off stays incomplete when a client sends it again.
    """
    data = {name: value for name, value in item.items() if name not in ("id", "status")}
    data.setdefault("type", "message")
    entry = make_input_entry(data)
    if item.get("status") == "incomplete" and entry.role == "assistant":
        entry.status = "incomplete"
    return entry


def make_input_entry(data: JsonObject) -> Entry:
    """Return a completed entry with the data of an item."""
    kind = data["type"]
    match kind:
        case "message":
            data = data | convert_message_content(data)
            return Entry(kind, data["role"], data, join_texts(data.get("content")))
        case "reasoning":
            return Entry(kind, "assistant", data, read_thinking(data))
        case "function_call":
            return Entry(kind, "assistant", data, f"{data['name']}({data['arguments']})")
        case "function_call_output":
            return Entry(kind, "tool", data, join_texts(data.get("output")))
    return Entry(kind, "", data)


def convert_message_content(data: JsonObject) -> JsonObject:
    """Return the content of a message item as complete parts, in a field of that name."""
    content = data.get("content")
    if isinstance(content, list):
        return {"content": [fill_part_defaults(part) for part in content]}
    if isinstance(content, str):
        direction = "output" if data["role"] == "assistant" else "input"
        return {"content": convert_content(content, direction)}
    return {}


def fill_part_defaults(part: JsonObject) -> JsonObject:
    """Return the part with the fields that OpenAI's own parts always have."""
    return {"detail": "auto", **part} if part.get("type") == "input_image" else part
