"""Bring chat bodies into the form that upstreams take, where clients send an equal one.

Clients send empty lists for what they do not use, and OpenAI refuses an empty list. Some send tools
as the Responses API has them: flat. Source: OpenAI's API reference, "Create a chat completion".
"""

from typing import Any

from providers.protocol.json_types import JsonObject

NESTED_TYPES = ("function", "custom")  # a tool has its fields in a field of its type's name
TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")
FUNCTION_FIELDS = ("functions", "function_call")
CHOICES_WITHOUT_TOOLS = (None, "none", "auto")
# the only fields beside the messages that may have to be changed
CHANGED_FIELDS = frozenset(
    ("tools", "tool_choice", "functions", "stop", "modalities", "top_logprobs")
)


def normalize_chat_body(body: JsonObject) -> JsonObject:
    """Return the body, or a changed copy of it when it has such fields."""
    has_empty_calls = [] in [message.get("tool_calls") for message in body["messages"]]
    if not has_empty_calls and CHANGED_FIELDS.isdisjoint(body):
        return body
    dropped = list_needless_fields(body)
    changed: JsonObject = {}
    tools = body.get("tools")
    if tools and any(map(is_flat_tool, tools)):
        changed["tools"] = [nest_tool(tool) for tool in tools]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and is_flat_tool(choice):
        changed["tool_choice"] = nest_tool(choice)
    if has_empty_calls:
        changed["messages"] = [drop_empty_calls(message) for message in body["messages"]]
    if not dropped and not changed:
        return body
    return {name: value for name, value in body.items() if name not in dropped} | changed


def list_needless_fields(body: JsonObject) -> list[str]:
    """Return the names of fields that say nothing, and that upstreams refuse."""
    names = [name for name in ("stop", "modalities") if body.get(name) == []]
    if body.get("tools") == [] and body.get("tool_choice") in CHOICES_WITHOUT_TOOLS:
        names += TOOL_FIELDS
    if body.get("functions") == [] and body.get("function_call") in CHOICES_WITHOUT_TOOLS:
        names += FUNCTION_FIELDS
    if body.get("top_logprobs") == 0 and not body.get("logprobs"):
        names.append("top_logprobs")
    return names


def is_flat_tool(tool: JsonObject) -> bool:
    """Return whether a tool, or the choice of one, has its fields beside its type."""
    kind = tool.get("type")
    return kind in NESTED_TYPES and kind not in tool and isinstance(tool.get("name"), str)


def nest_tool(tool: JsonObject) -> JsonObject:
    """Return a flat tool, or the choice of one, in the form of a chat completion."""
    if not is_flat_tool(tool):
        return tool
    kind = tool["type"]
    fields = {name: value for name, value in tool.items() if name != "type" and value is not None}
    if kind == "custom" and "format" in fields:
        fields["format"] = nest_format(fields["format"])
    return {"type": kind, kind: fields}


def nest_format(input_format: Any) -> Any:
    """Return the format of a custom tool's input as a chat completion has it."""
    if not isinstance(input_format, dict) or input_format.get("type") != "grammar":
        return input_format
    if "grammar" in input_format:
        return input_format
    grammar = {name: value for name, value in input_format.items() if name != "type"}
    return {"type": "grammar", "grammar": grammar}


def drop_empty_calls(message: JsonObject) -> JsonObject:
    """Return the message without an empty list of calls; its content is a text then."""
    if message.get("tool_calls") != []:
        return message
    fields = {name: value for name, value in message.items() if name != "tool_calls"}
    if fields.keys() <= {"role", "content", "name"} and fields.get("content") is None:
        fields["content"] = ""
    return fields
