"""The tools of a response in the form of a chat completion.

Functions are flat here and nested there; web search is a tool here and a field there
(`web_search_options`). Every other tool is run by OpenAI itself, or has a grammar, and is refused
with a clear message. Source: OpenAI's API reference, "Create a response", `tools` and
`tool_choice`.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, Struct

from api.schemas.chat_request_body import FunctionName
from api.schemas.item_inputs import prefix_error_path
from api.schemas.json_body import Maybe, invalid_value_error, missing_parameter_error
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

Tool = JsonObject
WEB_SEARCH_TYPES = frozenset(
    ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
)  # fmt: skip
CHOICE_MODES = ("none", "auto", "required")
LOCATION_FIELDS = ("city", "country", "region", "timezone")


class FunctionTool(Struct):
    name: FunctionName
    description: str | Maybe = UNSET
    parameters: JsonObject | Maybe = UNSET
    strict: bool | Maybe = UNSET


class SearchTool(Struct):
    search_context_size: str | Maybe = UNSET
    user_location: JsonObject | Maybe = UNSET
    filters: JsonObject | Maybe = UNSET


class AllowedToolsChoice(Struct):
    mode: Literal["auto", "required"]
    tools: list[JsonObject]


def check_tools(body: JsonObject) -> None:
    """Raise InvalidRequest when a tool, or the choice among them, is wrong or cannot be served."""
    tools = body.get("tools") or []
    for position, tool in enumerate(tools):
        check_tool(tool, f"tools[{position}]")
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in CHOICE_MODES:
        raise InvalidRequest(
            "tool_choice is none, auto, required, or names a tool.", param="tool_choice"
        )
    if choice not in (None, "none", "auto") and not tools:
        raise InvalidRequest(
            "tool_choice is only allowed when tools are given.", param="tool_choice"
        )
    if isinstance(choice, dict):
        check_tool_choice(choice, tools)


def check_tool(tool: Tool, field_path: str) -> None:
    tool_type = find_served_type(tool, field_path)
    try:
        msgspec.convert(tool, FunctionTool if tool_type == "function" else SearchTool)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), field_path)) from None
    if tool_type in WEB_SEARCH_TYPES and any((tool.get("filters") or {}).values()):
        message = "A search cannot be limited to some domains here."
        raise InvalidRequest(message, param=f"{field_path}.filters", code="unsupported_parameter")


def find_served_type(tool: Tool, field_path: str) -> str:
    """Return the type of a tool that can be served.

    Raises InvalidRequest for any other.
    """
    tool_type = tool.get("type")
    if tool_type is None:
        raise missing_parameter_error(f"{field_path}.type")
    if isinstance(tool_type, str) and (tool_type == "function" or tool_type in WEB_SEARCH_TYPES):
        return tool_type
    message = (
        f"Tools of the type {tool_type!r} are not supported here: "
        "only functions and web search are."
    )
    raise InvalidRequest(message, param=field_path, code="unsupported_parameter")


def check_tool_choice(choice: JsonObject, tools: list[Tool]) -> None:
    if choice.get("type") != "allowed_tools":
        check_named_tool(choice, tools, "tool_choice")
        return
    try:
        msgspec.convert(choice, AllowedToolsChoice)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), "tool_choice")) from None
    for position, named in enumerate(choice["tools"]):
        check_named_tool(named, tools, f"tool_choice.tools[{position}]")


def check_named_tool(named_tool: JsonObject, tools: list[Tool], field_path: str) -> None:
    name = named_tool.get("name")
    if find_served_type(named_tool, field_path) == "function":
        if any(tool["type"] == "function" and tool["name"] == name for tool in tools):
            return
        message = f"tool_choice names {name!r}, which is not among the tools."
        raise InvalidRequest(message, param=field_path)
    if not any(tool["type"] in WEB_SEARCH_TYPES for tool in tools):
        raise InvalidRequest(
            "tool_choice names a web search, which is not among the tools.", param=field_path
        )


def build_tool_fields(body: JsonObject) -> JsonObject:
    """Return the fields of a chat body for the tools of the validated `body`.

    When only some tools are allowed, the others are not sent: that works at every upstream. A
    search cannot be forced: upstreams that offer it leave the decision to the model.
    """
    tools = body.get("tools") or []
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        tools = [
            tool for tool in tools if any(is_chosen_tool(tool, named) for named in choice["tools"])
        ]
        choice = choice["mode"]
    chat_tools = [build_chat_tool(tool) for tool in tools if tool["type"] == "function"]
    search_tools = [tool for tool in tools if tool["type"] in WEB_SEARCH_TYPES]
    fields: JsonObject = {}
    if chat_tools:
        fields["tools"] = chat_tools
        fields["tool_choice"] = build_chat_tool_choice(choice)
        fields["parallel_tool_calls"] = body.get("parallel_tool_calls")
    if search_tools and choice != "none":
        fields["web_search_options"] = build_search_options(search_tools[0])
    return {name: value for name, value in fields.items() if value is not None}


def build_chat_tool_choice(choice: str | JsonObject | None) -> str | JsonObject | None:
    """Return the choice in the form of a chat completion; None for a forced search."""
    if not isinstance(choice, dict):
        return choice
    if "name" not in choice:
        return None
    return {"type": "function", "function": {"name": choice["name"]}}


def is_chosen_tool(tool: Tool, named_tool: JsonObject) -> bool:
    """Return whether a choice means this tool."""
    if tool["type"] == "function":
        return bool(named_tool["type"] == "function" and named_tool.get("name") == tool["name"])
    return named_tool["type"] in WEB_SEARCH_TYPES


def build_chat_tool(tool: Tool) -> Tool:
    fields = ("name", "description", "parameters", "strict")
    return {
        "type": "function",
        "function": {name: tool[name] for name in fields if tool.get(name) is not None},
    }


def build_search_options(tool: Tool) -> JsonObject:
    options: JsonObject = {}
    if tool.get("search_context_size"):
        options["search_context_size"] = tool["search_context_size"]
    location = tool.get("user_location")
    if location:
        place = {name: location[name] for name in LOCATION_FIELDS if location.get(name) is not None}
        options["user_location"] = {"type": "approximate", "approximate": place}
    return options
