"""The tools of a response in the form of a chat completion.

Functions are flat here and nested there; web search is a tool here and a field there
(`web_search_options`). Every other tool is run by OpenAI itself, or has a grammar, and is refused
with a clear message. Source: OpenAI's API reference, "Create a response", `tools` and
`tool_choice`.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from api.schemas.chat_request_body import FunctionName
from api.schemas.item_inputs import prefix_error_path
from api.schemas.json_body import Maybe, invalid_value_error, missing_parameter_error
from providers.exceptions import InvalidRequest

Tool = dict[str, Any]
WEB_SEARCH_TYPES = frozenset(
    ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
)  # fmt: skip
CHOICE_MODES = ("none", "auto", "required")
LOCATION_FIELDS = ("city", "country", "region", "timezone")


class FunctionTool(Struct):
    name: FunctionName
    description: str | Maybe = UNSET
    parameters: dict[str, Any] | Maybe = UNSET
    strict: bool | Maybe = UNSET


class SearchTool(Struct):
    search_context_size: str | Maybe = UNSET
    user_location: dict[str, Any] | Maybe = UNSET
    filters: dict[str, Any] | Maybe = UNSET


class AllowedToolsChoice(Struct):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


def check_tools(body: dict[str, Any]) -> None:
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
    kind = find_served_type(tool, field_path)
    try:
        msgspec.convert(tool, FunctionTool if kind == "function" else SearchTool)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), field_path)) from None
    if kind in WEB_SEARCH_TYPES and any((tool.get("filters") or {}).values()):
        why = "A search cannot be kept to some domains here."
        raise InvalidRequest(why, param=f"{field_path}.filters", code="unsupported_parameter")


def find_served_type(tool: Tool, field_path: str) -> str:
    """Return the type of a tool that can be served.

    Raises InvalidRequest for any other.
    """
    kind = tool.get("type")
    if kind is None:
        raise missing_parameter_error(f"{field_path}.type")
    if isinstance(kind, str) and (kind == "function" or kind in WEB_SEARCH_TYPES):
        return kind
    why = f"Tools of the type {kind!r} are not supported here: only functions and web search are."
    raise InvalidRequest(why, param=field_path, code="unsupported_parameter")


def check_tool_choice(choice: dict[str, Any], tools: list[Tool]) -> None:
    if choice.get("type") != "allowed_tools":
        check_named_tool(choice, tools, "tool_choice")
        return
    try:
        msgspec.convert(choice, AllowedToolsChoice)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), "tool_choice")) from None
    for position, named in enumerate(choice["tools"]):
        check_named_tool(named, tools, f"tool_choice.tools[{position}]")


def check_named_tool(named_tool: dict[str, Any], tools: list[Tool], field_path: str) -> None:
    name = named_tool.get("name")
    if find_served_type(named_tool, field_path) == "function":
        if any(tool["type"] == "function" and tool["name"] == name for tool in tools):
            return
        why = f"tool_choice names {name!r}, which is not among the tools."
        raise InvalidRequest(why, param=field_path)
    if not any(tool["type"] in WEB_SEARCH_TYPES for tool in tools):
        raise InvalidRequest(
            "tool_choice names a web search, which is not among the tools.", param=field_path
        )


def build_tool_fields(body: dict[str, Any]) -> dict[str, Any]:
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
    found: dict[str, Any] = {}
    if functions := [build_chat_tool(tool) for tool in tools if tool["type"] == "function"]:
        found["tools"] = functions
        if isinstance(choice, dict):
            choice = (
                {"type": "function", "function": {"name": choice["name"]}}
                if "name" in choice
                else None
            )
        given = {"tool_choice": choice, "parallel_tool_calls": body.get("parallel_tool_calls")}
        found |= {name: value for name, value in given.items() if value is not None}
    searching = next((tool for tool in tools if tool["type"] in WEB_SEARCH_TYPES), None)
    if searching is not None and choice != "none":
        found["web_search_options"] = build_search_options(searching)
    return found


def is_chosen_tool(tool: Tool, named_tool: dict[str, Any]) -> bool:
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


def build_search_options(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tool.get("search_context_size"):
        found["search_context_size"] = tool["search_context_size"]
    if location := tool.get("user_location"):
        where = {name: location[name] for name in LOCATION_FIELDS if location.get(name) is not None}
        found["user_location"] = {"type": "approximate", "approximate": where}
    return found
