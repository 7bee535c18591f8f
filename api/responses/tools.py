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
from api.schemas.item_inputs import located
from api.schemas.json_body import Maybe, invalid, missing
from providers.exceptions import InvalidRequest

Tool = dict[str, Any]
SEARCHING = frozenset(
    ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
)  # fmt: skip
MODES = ("none", "auto", "required")
PLACE = ("city", "country", "region", "timezone")


class FunctionTool(Struct):
    name: FunctionName
    description: str | Maybe = UNSET
    parameters: dict[str, Any] | Maybe = UNSET
    strict: bool | Maybe = UNSET


class SearchTool(Struct):
    search_context_size: str | Maybe = UNSET
    user_location: dict[str, Any] | Maybe = UNSET
    filters: dict[str, Any] | Maybe = UNSET


class Allowed(Struct):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


def check(body: dict[str, Any]) -> None:
    """Raise InvalidRequest when a tool, or the choice among them, is wrong or cannot be served."""
    tools = body.get("tools") or []
    for position, tool in enumerate(tools):
        check_tool(tool, f"tools[{position}]")
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in MODES:
        raise InvalidRequest(
            "tool_choice is none, auto, required, or names a tool.", param="tool_choice"
        )
    if choice not in (None, "none", "auto") and not tools:
        raise InvalidRequest(
            "tool_choice is only allowed when tools are given.", param="tool_choice"
        )
    if isinstance(choice, dict):
        check_choice(choice, tools)


def check_tool(tool: Tool, place: str) -> None:
    kind = known_kind(tool, place)
    try:
        msgspec.convert(tool, FunctionTool if kind == "function" else SearchTool)
    except msgspec.ValidationError as error:
        raise invalid(located(str(error), place)) from None
    if kind in SEARCHING and any((tool.get("filters") or {}).values()):
        why = "A search cannot be kept to some domains here."
        raise InvalidRequest(why, param=f"{place}.filters", code="unsupported_parameter")


def known_kind(tool: Tool, place: str) -> str:
    """Return the type of a tool that can be served.

    Raises InvalidRequest for any other.
    """
    kind = tool.get("type")
    if kind is None:
        raise missing(f"{place}.type")
    if isinstance(kind, str) and (kind == "function" or kind in SEARCHING):
        return kind
    why = f"Tools of the type {kind!r} are not supported here: only functions and web search are."
    raise InvalidRequest(why, param=place, code="unsupported_parameter")


def check_choice(choice: dict[str, Any], tools: list[Tool]) -> None:
    if choice.get("type") != "allowed_tools":
        check_named(choice, tools, "tool_choice")
        return
    try:
        msgspec.convert(choice, Allowed)
    except msgspec.ValidationError as error:
        raise invalid(located(str(error), "tool_choice")) from None
    for position, named in enumerate(choice["tools"]):
        check_named(named, tools, f"tool_choice.tools[{position}]")


def check_named(named: dict[str, Any], tools: list[Tool], place: str) -> None:
    name = named.get("name")
    if known_kind(named, place) == "function":
        if any(tool["type"] == "function" and tool["name"] == name for tool in tools):
            return
        why = f"tool_choice names {name!r}, which is not among the tools."
        raise InvalidRequest(why, param=place)
    if not any(tool["type"] in SEARCHING for tool in tools):
        raise InvalidRequest(
            "tool_choice names a web search, which is not among the tools.", param=place
        )


def chat_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a chat body for the tools of the validated `body`.

    When only some tools are allowed, the others are not sent: that works at every upstream. A
    search cannot be forced: upstreams that offer it leave the decision to the model.
    """
    tools = body.get("tools") or []
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        tools = [tool for tool in tools if any(same(tool, named) for named in choice["tools"])]
        choice = choice["mode"]
    found: dict[str, Any] = {}
    if functions := [chat_tool(tool) for tool in tools if tool["type"] == "function"]:
        found["tools"] = functions
        if isinstance(choice, dict):
            choice = (
                {"type": "function", "function": {"name": choice["name"]}}
                if "name" in choice
                else None
            )
        given = {"tool_choice": choice, "parallel_tool_calls": body.get("parallel_tool_calls")}
        found |= {name: value for name, value in given.items() if value is not None}
    searching = next((tool for tool in tools if tool["type"] in SEARCHING), None)
    if searching is not None and choice != "none":
        found["web_search_options"] = search_options(searching)
    return found


def same(tool: Tool, named: dict[str, Any]) -> bool:
    """Return whether a choice means this tool."""
    if tool["type"] == "function":
        return bool(named["type"] == "function" and named.get("name") == tool["name"])
    return named["type"] in SEARCHING


def chat_tool(tool: Tool) -> Tool:
    fields = ("name", "description", "parameters", "strict")
    return {
        "type": "function",
        "function": {name: tool[name] for name in fields if tool.get(name) is not None},
    }


def search_options(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tool.get("search_context_size"):
        found["search_context_size"] = tool["search_context_size"]
    if location := tool.get("user_location"):
        where = {name: location[name] for name in PLACE if location.get(name) is not None}
        found["user_location"] = {"type": "approximate", "approximate": where}
    return found
