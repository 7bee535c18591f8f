"""Convert chat messages to items and back, without loss.

One message is one or several items; consecutive items of the model become one message again. An
item's `data` is OpenAI's Responses item without id and status: `message` (content parts input_text,
input_image, input_file, output_text, refusal; other fields of a chat message are kept beside them),
`make_reasoning_entry`, `make_call_entry`, `function_call_output`; other types stay as they came.
Source: OpenAI's API reference, "Responses" and "Chat completions".
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import orjson
from msgspec import Struct, structs

from providers.protocol.message_text import join_texts

Message = dict[str, Any]
ID_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
}
CALL_TYPES = ("function_call", "tool_call")  # the second is a type that only its upstream knows
CUT_NOTICE = "\n\n[This answer was cut off before its end.]"
ESCAPED_NUL = b"\\u0000"


class ItemLike(Protocol):
    """The common fields of an Entry and a row of Item."""

    type: str
    role: str
    status: str
    data: dict[str, Any]
    text: str


class Entry(Struct):
    """One item before it has an id; `text` is its text for people."""

    type: str
    role: str
    data: dict[str, Any]
    text: str = ""
    status: str = "completed"
    output: bool = False  # the model made it
    received_digest: str = (
        ""  # SHA-256 of the text as the caller received it; set when thinking preceded it
    )

    def make_storable(self) -> "Entry":
        """Return the item with NUL and lone surrogates replaced, which no database can store."""
        try:
            if ESCAPED_NUL not in orjson.dumps([self.data, self.text]):
                return self
        except (orjson.JSONEncodeError, UnicodeEncodeError):
            pass
        return structs.replace(
            self, data=replace_unstorable(self.data), text=replace_unstorable(self.text)
        )


def replace_unstorable(value: Any) -> Any:
    """Return the value with U+FFFD for each NUL and lone surrogate in its texts."""
    if isinstance(value, str):
        return (
            value.replace("\0", "\ufffd")
            .encode("utf-8", "surrogatepass")
            .decode("utf-8", "replace")
        )
    if isinstance(value, dict):
        return {replace_unstorable(name): replace_unstorable(item) for name, item in value.items()}
    return [replace_unstorable(item) for item in value] if isinstance(value, list) else value


def make_public_id(kind: str, request_hex: str, position: int, *, output: bool = True) -> str:
    """Return the id of an item of a turn, from the request's hex digits and the item's place.

    So the id is known before the item is stored.
    """
    return f"{ID_PREFIXES.get(kind, 'item_')}{request_hex}{'' if output else 'i'}{position:02x}"


# --- chat messages -> items -----------------------------------------------------------------------
def entries_from_messages(messages: Iterable[Message]) -> list[Entry]:
    """Return the items of chat messages, in their order."""
    return [entry for message in messages for entry in entries_from_message(message)]


def entries_from_message(message: Message) -> Iterator[Entry]:
    role = message["role"]
    if role == "tool":
        output = convert_tool_output(message.get("content"))
        rest = {
            name: value
            for name, value in message.items()
            if name not in MESSAGE_FIELDS and value is not None
        }
        called = {
            "type": "function_call_output",
            "call_id": message.get("tool_call_id") or "",
            "output": output,
        }
        data = rest | called
        yield Entry("function_call_output", role, data, join_texts(output))
        return
    rest = {
        name: value
        for name, value in message.items()
        if name not in MESSAGE_FIELDS and value is not None
    }
    if role != "assistant":
        parts = [
            convert_chat_part(part, "input") for part in list_content_parts(message.get("content"))
        ]
        data = {"type": "message", "role": role, "content": parts, **rest}
        yield Entry("message", role, data, join_texts(parts))
        return
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        yield make_reasoning_entry(thought if isinstance(thought, str) else str(thought))
    parts = [
        convert_chat_part(part, "output") for part in list_content_parts(message.get("content"))
    ]
    if refusal := message.get("refusal"):
        parts.append({"type": "refusal", "refusal": refusal})
    if parts or rest:
        data = {"type": "message", "role": role, "content": parts, **rest}
        yield Entry("message", role, data, join_texts(parts))
    for call in message.get("tool_calls") or ():
        yield make_call_entry(call)


MESSAGE_FIELDS = (
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "refusal",
    "reasoning_content",
    "reasoning",
)


def make_reasoning_entry(thought: str) -> Entry:
    content = [{"type": "reasoning_text", "text": thought}]
    return Entry(
        "reasoning", "assistant", {"type": "reasoning", "summary": [], "content": content}, thought
    )


def make_call_entry(call: dict[str, Any]) -> Entry:
    function = call.get("function")
    if function is None:  # a type of tool that only its upstream knows
        return Entry(
            "tool_call", "assistant", {"type": "tool_call", "call": call}, str(call.get("type"))
        )
    name = function["name"]
    arguments = function["arguments"]
    data = {"type": "function_call", "call_id": call["id"], "name": name, "arguments": arguments}
    return Entry("function_call", "assistant", data, f"{name}({arguments})")


def list_content_parts(content: Any) -> Sequence[dict[str, Any]]:
    """Return a message's content as chat parts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content or ()


def convert_tool_output(content: Any) -> Any:
    """Return a tool's output: its text, or Responses parts."""
    return (
        [convert_chat_part(part, "input") for part in content]
        if isinstance(content, list)
        else content or ""
    )


def convert_chat_part(part: dict[str, Any], direction: str) -> dict[str, Any]:
    """Return a chat part as a Responses part; `direction` is input or output."""
    match part.get("type"):
        case "text":
            made = {**part, "type": f"{direction}_text"}
            return (
                made
                if direction == "input"
                else {**made, "annotations": part.get("annotations") or []}
            )
        case "image_url":
            image = (
                part["image_url"]
                if isinstance(part["image_url"], dict)
                else {"url": part["image_url"]}
            )
            rest = {
                name: value for name, value in part.items() if name not in ("type", "image_url")
            }
            made = {
                "type": "input_image",
                "image_url": image.get("url"),
                "detail": image.get("detail") or "auto",
            }
            return made | rest
        case "file":
            return {"type": "input_file", **part["file"]}
    return part


# --- the input of a response -> items -------------------------------------------------------------
def entries_from_input(given_input: str | list[dict[str, Any]]) -> list[Entry]:
    """Return the items of a validated `input`."""
    if isinstance(given_input, str):
        given_input = [{"role": "user", "content": given_input}]
    return [entry_from_item(item) for item in given_input]


def entry_from_item(item: dict[str, Any]) -> Entry:
    entry = completed_entry_from_item(item)
    if item.get("status") == "incomplete" and entry.role == "assistant":
        # an answer that was cut off stays incomplete when a client sends it again
        entry.status = "incomplete"
    return entry


def completed_entry_from_item(item: dict[str, Any]) -> Entry:
    data = {name: value for name, value in item.items() if name not in ("id", "status")}
    kind = data.setdefault("type", "message")
    if kind == "message":
        role = data["role"]
        if isinstance(data.get("content"), list):
            data["content"] = [fill_part_defaults(part) for part in data["content"]]
        if isinstance(data.get("content"), str):
            way = "output" if role == "assistant" else "input"
            data["content"] = [
                convert_chat_part(part, way) for part in list_content_parts(data["content"])
            ]
        return Entry(kind, role, data, join_texts(data.get("content")))
    if kind == "reasoning":
        return Entry(kind, "assistant", data, read_thinking(data))
    if kind == "function_call":
        return Entry(kind, "assistant", data, f"{data['name']}({data['arguments']})")
    if kind == "function_call_output":
        return Entry(kind, "tool", data, join_texts(data.get("output")))
    return Entry(kind, "", data)


def fill_part_defaults(part: dict[str, Any]) -> dict[str, Any]:
    """Return the part with the fields that OpenAI's own parts always have."""
    return {"detail": "auto", **part} if part.get("type") == "input_image" else part


# --- items -> chat messages -----------------------------------------------------------------------
def entries_to_messages(entries: Iterable[ItemLike]) -> list[Message]:
    """Return the chat messages for an upstream.

    An answer that was cut off ends with CUT. Reasoning is included only where tools were called,
    because some upstreams insist on it there.
    """
    messages: list[Message] = []
    said: Message | None = None  # the message of the model that is being built
    for entry in entries:
        data = entry.data
        if entry.type == "message" and entry.role != "assistant":
            said = None
            messages.append(
                {
                    "role": entry.role,
                    "content": chat_content(data.get("content")),
                    **extra_message_fields(data),
                }
            )
        elif entry.type == "function_call_output":
            said = None
            content = chat_content(data.get("output"))
            called = {"role": "tool", "tool_call_id": data.get("call_id") or "", "content": content}
            messages.append(called | extra_message_fields(data))
        elif entry.role == "assistant":
            if said is None or (
                entry.type in ("message", "reasoning") and starts_new_message(said, entry.type)
            ):
                said = {"role": "assistant", "content": None}
                messages.append(said)
            add_item_to_message(said, entry)
    return [message for message in map(finish_message, messages) if message is not None]


def starts_new_message(message: Message, kind: str) -> bool:
    """Return whether another item of this kind starts a new message."""
    return (
        bool(message["content"] is not None or message.get("tool_calls"))
        if kind == "message"
        else len(message) > 2
    )


def add_item_to_message(message: Message, entry: ItemLike) -> None:
    """Add an item of the model to its chat message."""
    data = entry.data
    if entry.type == "reasoning":
        if thinking := read_thinking(data):
            message["reasoning_content"] = thinking
    elif entry.type == "message":
        parts = data.get("content") or []
        message["content"] = (
            chat_content([part for part in parts if part.get("type") != "refusal"]) or None
        )
        if entry.status == "incomplete":
            message["content"] = join_texts(parts) + CUT_NOTICE
        message.update(extra_message_fields(data))
        if refusal := read_refusal(parts):
            message["refusal"] = refusal
    elif entry.type in CALL_TYPES and entry.status == "completed":
        message.setdefault("tool_calls", []).append(read_tool_call(data))


def read_thinking(data: dict[str, Any]) -> str:
    """Return the text of a reasoning item, including its summary."""
    return join_texts([*(data.get("content") or ()), *(data.get("summary") or ())])


def read_refusal(parts: Iterable[dict[str, Any]]) -> str:
    """Join the refusals among the parts of a message item."""
    return "".join(part["refusal"] for part in parts if part.get("type") == "refusal")


def read_tool_call(data: dict[str, Any]) -> dict[str, Any]:
    """Return an item of CALL_TYPES as the tool call of a chat message."""
    if data["type"] == "tool_call":
        call: dict[str, Any] = data["call"]
        return call
    function = {"name": data["name"], "arguments": data["arguments"]}
    return {"id": data["call_id"], "type": "function", "function": function}


def finish_message(message: Message) -> Message | None:
    """Return the message as an upstream takes it, None when nothing of it is left."""
    if message["role"] != "assistant":
        return message
    if not message.get("tool_calls"):
        message.pop("reasoning_content", None)
    return message if len(message) > 2 or message["content"] else None


def extra_message_fields(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a chat message that an item has no place for."""
    return {name: value for name, value in data.items() if name not in ITEM_FIELDS}


ITEM_FIELDS = ("type", "role", "content", "phase", "call_id", "output", "created_by")


def chat_content(parts: Any) -> Any:
    """Return Responses parts as chat content; a single text becomes a string."""
    if not isinstance(parts, list):
        return parts or ""
    if not parts:
        return ""
    made = [chat_part(part) for part in parts]
    return made[0]["text"] if len(made) == 1 and made[0].keys() == {"type", "text"} else made


ANSWER_ONLY_FIELDS = ("annotations", "logprobs")  # fields of a text that only answers have


def chat_part(part: dict[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "input_text" | "output_text":
            return {
                name: value for name, value in part.items() if name not in ANSWER_ONLY_FIELDS
            } | {"type": "text"}
        case "input_image":
            if part.get("image_url") is None:
                return {"type": "file", "file": {"file_id": part.get("file_id")}}
            return {
                "type": "image_url",
                "image_url": {"url": part["image_url"], "detail": part.get("detail") or "auto"},
            }
        case "input_file":
            return {
                "type": "file",
                "file": {name: value for name, value in part.items() if name != "type"},
            }
    return part
