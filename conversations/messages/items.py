"""Items of a conversation before they are stored, and how to read the data of an item.

An item's `data` is OpenAI's Responses item without id and status: `message` (content parts
input_text, input_image, input_file, output_text, refusal; other fields of a chat message are kept
beside them), `reasoning`, `function_call`, `custom_tool_call` (CALL_EXTRA_FIELDS are kept beside
both), and their outputs. Other types stay as they came.
Source: OpenAI's API reference, "Responses".
"""

from collections.abc import Iterable
from typing import Any, Protocol

import orjson
from msgspec import Struct, structs

from conversations.messages.custom_input import write_custom_input
from conversations.messages.opaque_text import encode_opaque_text
from conversations.messages.tool_names import CalledTool, ToolNames
from providers.protocol.dialect import CALL_EXTRA_FIELDS
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts

ID_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
    "compaction": "cmp_",
    "web_search_call": "ws_",
    "file_search_call": "fs_",
    "mcp_list_tools": "mcpl_",
    "mcp_call": "mcp_",
    "mcp_approval_request": "mcpr_",
}
# items of tools that the gateway runs; those of the first line have a result for the model
SERVER_CALL_TYPES = ("mcp_call", "web_search_call", "file_search_call")
SERVER_ITEM_TYPES = (*SERVER_CALL_TYPES, "mcp_list_tools", "mcp_approval_request")
# what a model needs to see of such an item in later turns, which callers never get
PRIVATE_FIELD = "gateway"
# the last is a type that only its upstream knows
CALL_TYPES = ("function_call", "custom_tool_call", "tool_call")
OUTPUT_TYPES = ("function_call_output", "custom_tool_call_output")
# a summary in place of the items before it; Codex knows the other names
COMPACTION_TYPES = ("compaction", "compaction_summary", "context_compaction")
CUSTOM_CALL_FIELDS = {"id", "type", "custom"}
CALL_KINDS = {"function_call": "function", "custom_tool_call": "custom"}
# thinking as OpenRouter wants it back with the calls that it led to
DETAILS_FIELD = "reasoning_details"
ESCAPED_NUL = b"\\u0000"


class ItemLike(Protocol):
    """The common fields of an Entry and a row of Item."""

    type: str
    role: str
    status: str
    data: JsonObject
    text: str
    hidden_thinking: str | None


class Entry(Struct):
    """One item before it has an id; `text` is its text for people.

    `received_digest` is the SHA-256 of the text as the caller received it; it is set when thinking
    preceded the text. `hidden_thinking` is thinking before an output that the caller does not get.
    """

    type: str
    role: str
    data: JsonObject
    text: str = ""
    status: str = "completed"
    output: bool = False  # the model made it
    received_digest: str = ""
    hidden_thinking: str | None = None

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
        without_nul = value.replace("\0", "\ufffd")
        return without_nul.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {replace_unstorable(name): replace_unstorable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [replace_unstorable(item) for item in value]
    return value


def measure_json_bytes(value: object) -> int:
    """Return the bytes of a value as JSON."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return len(str(value))


def make_public_id(kind: str, request_hex: str, position: int, *, output: bool = True) -> str:
    """Return the id of an item of a turn, from the request's hex digits and the item's place.

    So the id is known before the item is stored.
    """
    side = "" if output else "i"
    return f"{ID_PREFIXES.get(kind, 'item_')}{request_hex}{side}{position:02x}"


def make_reasoning_entry(thought: str) -> Entry:
    """Return the item of a thought of the model."""
    content = [{"type": "reasoning_text", "text": thought}]
    data: JsonObject = {"type": "reasoning", "summary": [], "content": content}
    return Entry("reasoning", "assistant", data, thought)


def make_compaction_entry(summary: str) -> Entry:
    """Return the item that takes the place of the items before it, but for those of the user."""
    content = encode_opaque_text(summary)
    return Entry("compaction", "", {"type": "compaction", "encrypted_content": content}, summary)


def make_call_entry(call: JsonObject) -> Entry:
    """Return the item of a tool call of a chat message."""
    function = call.get("function")
    if function is not None:
        tool = CalledTool("function", function["name"])
        entry = make_tool_call_entry(tool, call["id"], function["arguments"])
    elif is_custom_call(call):
        tool = CalledTool("custom", call["custom"]["name"])
        entry = make_tool_call_entry(tool, call["id"], call["custom"]["input"])
    else:
        data: JsonObject = {"type": "tool_call", "call": call}
        return Entry("tool_call", "assistant", data, str(call.get("type")))
    entry.data |= select_call_extras(call)
    return entry


def is_custom_call(call: JsonObject) -> bool:
    """Return whether a call without a function has exactly the fields of a custom call."""
    custom = call.get("custom")
    if call.keys() - CALL_EXTRA_FIELDS != CUSTOM_CALL_FIELDS or not isinstance(custom, dict):
        return False
    values = (custom.get("name"), custom.get("input"))
    return len(custom) == len(values) and all(isinstance(value, str) for value in values)


def make_tool_call_entry(tool: CalledTool, call_id: str, payload: str) -> Entry:
    """Return the item of a call; `payload` has its arguments, or the input of a custom tool."""
    kind = "custom_tool_call" if tool.kind == "custom" else "function_call"
    data: JsonObject = {"type": kind, "call_id": call_id, "name": tool.name}
    if tool.namespace:
        data["namespace"] = tool.namespace
    data["input" if tool.kind == "custom" else "arguments"] = payload
    return Entry(kind, "assistant", data, f"{tool.name}({payload})")


def select_call_extras(call: JsonObject) -> JsonObject:
    """Return the fields of a call, or of its item, that its upstream wants back."""
    return {name: call[name] for name in CALL_EXTRA_FIELDS if call.get(name) is not None}


def make_server_entry(item: JsonObject, status: str) -> Entry:
    """Return the entry of a tool that the gateway runs or asks an approval for."""
    private = item.get(PRIVATE_FIELD) or {}
    text = "\n".join(filter(None, (private.get("arguments"), private.get("output"))))
    return Entry(item["type"], "assistant", item, text, status)


def read_server_call(data: JsonObject) -> tuple[JsonObject, str] | None:
    """Return an item of SERVER_CALL_TYPES as a chat call and its output; None without an output."""
    private = data.get(PRIVATE_FIELD)
    if not isinstance(private, dict):
        return None
    values = [private.get(name) for name in ("call_id", "name", "arguments", "output")]
    if not all(isinstance(value, str) for value in values):
        return None
    call_id, name, arguments, output = map(str, values)
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}, output


def read_thinking(data: JsonObject) -> str:
    """Return the text of a reasoning item, including its summary."""
    return join_texts([*(data.get("content") or ()), *(data.get("summary") or ())])


def read_refusal(parts: Iterable[JsonObject]) -> str:
    """Join the refusals among the parts of a message item."""
    return "".join(part["refusal"] for part in parts if part.get("type") == "refusal")


def read_called_tool(data: JsonObject) -> CalledTool:
    """Return the tool that an item of the types in CALL_KINDS calls."""
    return CalledTool(CALL_KINDS[data["type"]], data["name"], data.get("namespace") or "")


def read_tool_call(data: JsonObject, tool_names: ToolNames) -> JsonObject:
    """Return an item of CALL_TYPES as the tool call of a chat message."""
    if data["type"] == "tool_call":
        call: JsonObject = data["call"]
        return call
    tool = read_called_tool(data)
    if tool.kind == "custom" and tool_names.keeps_custom_calls:
        custom = {"name": tool.name, "input": data["input"]}
        call = {"id": data["call_id"], "type": "custom", "custom": custom}
        return call | select_call_extras(data)
    is_custom = tool.kind == "custom"
    arguments = write_custom_input(data["input"]) if is_custom else data["arguments"]
    function = {"name": tool_names.find_chat_name(tool), "arguments": arguments}
    call = {"id": data["call_id"], "type": "function", "function": function}
    return call | select_call_extras(data)
