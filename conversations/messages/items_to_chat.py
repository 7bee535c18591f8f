"""Convert items to the chat messages for an upstream.

Consecutive items of the model become one message again. An answer that was cut off ends with
CUT_NOTICE. Reasoning is included only in turns with tool calls, because some upstreams insist on it
there; `providers/dialects/` leaves it out for those that refuse it.
"""

from collections.abc import Iterable

from conversations.messages.items import (
    CALL_TYPES,
    COMPACTION_TYPES,
    DETAILS_FIELD,
    OUTPUT_TYPES,
    SERVER_CALL_TYPES,
    ItemLike,
    read_refusal,
    read_server_call,
    read_thinking,
    read_tool_call,
)
from conversations.messages.tool_names import ToolNames
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import Content, join_texts

CUT_NOTICE = "\n\n[This answer was cut off before its end.]"
COMPACTION_NOTICE = "[Summary of the conversation so far, without its user messages:]\n\n"
# fields of an item that have a place of their own in a chat message
ITEM_FIELDS = ("type", "role", "content", "phase", "call_id", "output", "created_by")
ANSWER_ONLY_FIELDS = ("annotations", "logprobs")  # fields of a text that only answers have
SAME_NAMES = ToolNames()  # calls have their names and forms as they came


def entries_to_messages(
    entries: Iterable[ItemLike], tool_names: ToolNames = SAME_NAMES
) -> list[JsonObject]:
    """Return the chat messages of items; items that only a Responses upstream knows are left out.

    Empty messages of the model are left out, too, and so is what a later compaction sums up. Calls
    have the names of `tool_names`.
    """
    messages: list[JsonObject] = []
    answer: JsonObject | None = None  # the message of the model that is being built
    for entry in drop_compacted_entries(entries):
        if entry.role == "assistant" and entry.type not in OUTPUT_TYPES:
            if answer is None or starts_new_message(answer, entry.type):
                answer = {"role": "assistant", "content": None}
                messages.append(answer)
            add_item_to_message(answer, entry, tool_names)
            if entry.type in SERVER_CALL_TYPES:
                messages += add_server_call(answer, entry)
        elif message := make_input_message(entry):
            answer = None
            messages.append(message)
    remove_needless_thinking(messages)
    return [message for message in messages if not is_empty_answer(message)]


def drop_compacted_entries(entries: Iterable[ItemLike]) -> list[ItemLike]:
    """Return the items without those before the last compaction, but for messages of the caller.

    The summary of a compaction is written for somebody who sees the caller's messages.
    """
    kept = list(entries)
    for place in range(len(kept) - 1, 0, -1):
        if kept[place].type in COMPACTION_TYPES and kept[place].text:
            seen = [
                entry
                for entry in kept[:place]
                if entry.type == "message" and entry.role != "assistant"
            ]
            return [*seen, *kept[place:]]
    return kept


def make_input_message(entry: ItemLike) -> JsonObject | None:
    """Return the chat message of a caller's message or tool output, None for any other item."""
    data = entry.data
    message: JsonObject
    if entry.type == "message":
        message = {"role": entry.role, "content": make_chat_content(data.get("content"))}
    elif entry.type in OUTPUT_TYPES:
        message = {
            "role": "tool",
            "tool_call_id": data.get("call_id") or "",
            "content": make_chat_content(data.get("output")),
        }
    elif entry.type == "agent_message" and entry.text:
        return {"role": "user", "content": entry.text}
    elif entry.type in COMPACTION_TYPES and entry.text:
        return {"role": "user", "content": COMPACTION_NOTICE + entry.text}
    else:
        return None
    return message | extra_message_fields(data)


def starts_new_message(message: JsonObject, kind: str) -> bool:
    """Return whether another item of this kind starts a new message of the model."""
    if kind == "message":
        return message["content"] is not None or bool(message.get("tool_calls"))
    return kind == "reasoning" and len(message) > 2


def add_item_to_message(message: JsonObject, entry: ItemLike, tool_names: ToolNames) -> None:
    """Add an item of the model to its chat message."""
    if entry.type == "reasoning":
        if thinking := read_thinking(entry.data):
            message["reasoning_content"] = thinking
        add_details_to_message(message, entry)
    elif entry.type == "message":
        add_answer_to_message(message, entry)
        add_hidden_thinking(message, entry)
    elif entry.type in CALL_TYPES and entry.status == "completed":
        message.setdefault("tool_calls", []).append(read_tool_call(entry.data, tool_names))
        add_details_to_message(message, entry)
        add_hidden_thinking(message, entry)


def add_server_call(message: JsonObject, entry: ItemLike) -> list[JsonObject]:
    """Add a call that the gateway has run to its chat message, and return that of its result.

    A call whose result is not known is left out.
    """
    server_call = read_server_call(entry.data)
    if server_call is None:
        return []
    call, output = server_call
    message.setdefault("tool_calls", []).append(call)
    return [{"role": "tool", "tool_call_id": call["id"], "content": output}]


def add_hidden_thinking(message: JsonObject, entry: ItemLike) -> None:
    """Add thinking that the caller did not get, if it was kept, to the chat message."""
    if entry.hidden_thinking:
        message.setdefault("reasoning_content", entry.hidden_thinking)


def add_details_to_message(message: JsonObject, entry: ItemLike) -> None:
    """Add the details of the thinking, if an item has them, to its chat message."""
    if details := entry.data.get(DETAILS_FIELD):
        message[DETAILS_FIELD] = details


def add_answer_to_message(message: JsonObject, entry: ItemLike) -> None:
    """Add the text, the refusal and the other fields of an answer to its chat message."""
    parts = entry.data.get("content") or []
    texts = [part for part in parts if part.get("type") != "refusal"]
    message["content"] = make_chat_content(texts) or None
    if entry.status == "incomplete":
        message["content"] = join_texts(parts) + CUT_NOTICE
    message.update(extra_message_fields(entry.data))
    if refusal := read_refusal(parts):
        message["refusal"] = refusal


def remove_needless_thinking(messages: Iterable[JsonObject]) -> None:
    """Remove, in place, the reasoning of turns in which the model called no tools.

    A turn begins with a message of the caller. Its answer after the last tool belongs to it.
    """
    has_calls = False
    for message in messages:
        if message["role"] == "user":
            has_calls = False
        elif message["role"] == "assistant":
            has_calls = has_calls or bool(message.get("tool_calls"))
            if not has_calls:
                message.pop("reasoning_content", None)


def is_empty_answer(message: JsonObject) -> bool:
    """Return whether a message of the model has neither text nor calls nor other fields."""
    return message["role"] == "assistant" and len(message) == 2 and not message["content"]


def extra_message_fields(data: JsonObject) -> JsonObject:
    """Return the fields of a chat message that an item has no place for."""
    return {name: value for name, value in data.items() if name not in ITEM_FIELDS}


def make_chat_content(parts: Content | None) -> Content:
    """Return Responses parts as chat content; a single text becomes a string."""
    if not parts or not isinstance(parts, list):
        return parts or ""
    chat_parts = [make_chat_part(part) for part in parts]
    if len(chat_parts) == 1 and chat_parts[0].keys() == {"type", "text"}:
        text: str = chat_parts[0]["text"]
        return text
    return chat_parts


def make_chat_part(part: JsonObject) -> JsonObject:
    """Return a Responses part as a chat part; an unknown one stays as it is."""
    match part.get("type"):
        case "input_text" | "output_text":
            text_part = {
                name: value for name, value in part.items() if name not in ANSWER_ONLY_FIELDS
            }
            return text_part | {"type": "text"}
        case "input_image":
            return make_image_part(part)
        case "input_file":
            file = {name: value for name, value in part.items() if name != "type"}
            return {"type": "file", "file": file}
    return part


def make_image_part(part: JsonObject) -> JsonObject:
    """Return an image as a chat part; one of a stored file becomes a file part."""
    if part.get("image_url") is None:
        file = {name: part[name] for name in ("file_id", "detail") if part.get(name) is not None}
        return {"type": "file", "file": file}
    image = {"url": part["image_url"], "detail": part.get("detail") or "auto"}
    return {"type": "image_url", "image_url": image}
