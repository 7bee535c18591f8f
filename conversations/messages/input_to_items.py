"""Convert the `input` of a response to items. Source: OpenAI's API reference, "Responses".

An item keeps the fields that OpenAI documents for it, and those of a chat message that upstreams
know. Clients put notes of their own beside them, which no upstream accepts.
"""

from conversations.messages.chat_to_items import convert_content
from conversations.messages.items import (
    COMPACTION_TYPES,
    OUTPUT_TYPES,
    PRIVATE_FIELD,
    Entry,
    make_server_entry,
    read_thinking,
)
from conversations.messages.opaque_text import decode_opaque_text
from conversations.messages.tool_names import CalledTool, make_chat_name
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts

# fields of a message or an output that is kept; the second line has those of chat messages
KEPT_FIELDS = frozenset(
    """
    type role content phase call_id output created_by
    name audio reasoning_content reasoning_details cache_control prefix partial
    """.split()
)
KEPT_TEXT_FIELDS = frozenset(("type", "text", "annotations", "logprobs", "cache_control"))
UNKEPT_FIELDS = ("id", "status", PRIVATE_FIELD)
FAILED_CALL = "The call failed."
TEXT_TYPES = ("input_text", "output_text")


def entries_from_input(response_input: str | list[JsonObject]) -> list[Entry]:
    """Return the items of a validated `input`."""
    if isinstance(response_input, str):
        response_input = [{"role": "user", "content": response_input}]
    return [entry_from_item(item) for item in response_input]


def entry_from_item(item: JsonObject) -> Entry:
    """Return one item of the input as an entry, without its id.

    An answer that was cut off stays incomplete when a client sends it again.
    """
    data = {name: value for name, value in item.items() if name not in UNKEPT_FIELDS}
    data.setdefault("type", "message")
    if data["type"] == "mcp_call":
        return make_mcp_entry(data, item)
    entry = make_input_entry(data)
    if item.get("status") == "incomplete" and entry.role == "assistant":
        entry.status = "incomplete"
    return entry


def make_mcp_entry(data: JsonObject, item: JsonObject) -> Entry:
    """Return the entry of a call that the gateway ran in an earlier response.

    It goes to the model like a call of a function, when it has its result.
    """
    texts = [item.get(name) for name in ("id", "name", "server_label", "arguments")]
    output = item.get("output")
    if output is None and item.get("error"):
        output = FAILED_CALL
    if isinstance(output, str) and all(isinstance(text, str) and text for text in texts):
        call_id, name, label, arguments = texts
        chat_name = make_chat_name(CalledTool("server", str(name), str(label)))
        private = {"call_id": call_id, "name": chat_name, "arguments": arguments, "output": output}
        data = data | {PRIVATE_FIELD: private}
    return make_server_entry(data, "completed")


def make_input_entry(data: JsonObject) -> Entry:
    """Return a completed entry with the data of an item."""
    kind = data["type"]
    match kind:
        case "message":
            data = select_fields(data) | convert_message_content(data)
            return Entry(kind, data["role"], data, join_texts(data.get("content")))
        case "reasoning":
            return Entry(kind, "assistant", data, read_thinking(data))
        case "function_call":
            return Entry(kind, "assistant", data, f"{data['name']}({data['arguments']})")
        case "custom_tool_call":
            return Entry(kind, "assistant", data, f"{data['name']}({data['input']})")
        case "agent_message":
            return Entry(kind, "", data, read_agent_message(data))
    if kind in COMPACTION_TYPES:
        return Entry(kind, "", data, decode_opaque_text(data.get("encrypted_content")))
    if kind in OUTPUT_TYPES:
        return Entry(kind, "tool", select_fields(data), join_texts(data.get("output")))
    return Entry(kind, "", data)


def select_fields(data: JsonObject) -> JsonObject:
    """Return the fields of a message or an output that are kept."""
    return {name: value for name, value in data.items() if name in KEPT_FIELDS}


def read_agent_message(data: JsonObject) -> str:
    """Return the text of another agent's message, under its name; empty when it is encrypted."""
    content = data.get("content")
    if not isinstance(content, list | str):
        return ""
    if isinstance(content, list):
        content = [part for part in content if isinstance(part, dict)]
    text = join_texts(content)
    author = data.get("author")
    if not text or not isinstance(author, str):
        return text
    return f"Message from {author}:\n{text}"


def convert_message_content(data: JsonObject) -> JsonObject:
    """Return the content of a message item as complete parts, in a field of that name."""
    content = data.get("content")
    if isinstance(content, list):
        return {"content": [complete_part(part) for part in content]}
    if isinstance(content, str):
        direction = "output" if data["role"] == "assistant" else "input"
        return {"content": convert_content(content, direction)}
    return {}


def complete_part(part: JsonObject) -> JsonObject:
    """Return the part with the fields that OpenAI's own parts always have, and no unknown ones."""
    kind = part.get("type")
    if kind == "input_image":
        return {"detail": "auto", **part}
    if kind in TEXT_TYPES and not part.keys() <= KEPT_TEXT_FIELDS:
        return {name: value for name, value in part.items() if name in KEPT_TEXT_FIELDS}
    return part
