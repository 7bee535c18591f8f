"""The tools that a response request offers, of which only some can run here.

Functions and custom tools are run by the client, in a namespace or without one; a web search may
be run by the upstream. All other types are run by OpenAI itself, or are not known. They are left
out, because clients offer them always and rarely need them. Tools may also come with the input,
after the client has searched for them. Source: OpenAI's API reference, "Create a response",
`tools`.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec
from django.conf import settings
from msgspec import UNSET, Meta, Struct

from api.schemas.body_shapes import FunctionName
from api.schemas.item_inputs import prefix_error_path
from api.schemas.json_body import Maybe, invalid_value_error, missing_parameter_error
from conversations.messages.tool_names import CalledTool, ToolNames
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

Tool = JsonObject
WEB_SEARCH_TYPES = frozenset(
    ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
)
CALLED_TYPES = ("function", "custom")  # types of tools that the client runs
TOOL_ITEM_TYPES = ("additional_tools", "tool_search_output")  # items that bring tools


class FunctionTool(Struct):
    name: FunctionName
    description: str | Maybe = UNSET
    parameters: JsonObject | Maybe = UNSET
    strict: bool | Maybe = UNSET


class CustomFormat(Struct):
    type: str
    syntax: str | Maybe = UNSET
    definition: str | Maybe = UNSET


class CustomTool(Struct):
    name: FunctionName
    description: str | Maybe = UNSET
    format: CustomFormat | Maybe = UNSET


class NamespaceTool(Struct):
    name: Annotated[str, Meta(min_length=1)]
    tools: list[JsonObject]


class SearchTool(Struct):
    search_context_size: str | Maybe = UNSET
    user_location: JsonObject | Maybe = UNSET
    filters: JsonObject | Maybe = UNSET


class HostedTool(Struct):
    """A tool that cannot run here; its fields are not looked at."""


TOOL_SHAPES: dict[str, type[Struct]] = {
    "function": FunctionTool,
    "custom": CustomTool,
    "namespace": NamespaceTool,
    **dict.fromkeys(WEB_SEARCH_TYPES, SearchTool),
}


class OfferedTool(NamedTuple):
    """A tool that can run, its place in the body, and its namespace if it has one."""

    tool: Tool
    field_path: str
    namespace: str = ""

    @property
    def is_search(self) -> bool:
        return self.tool["type"] in WEB_SEARCH_TYPES

    @property
    def called_tool(self) -> CalledTool:
        """Return the tool as a model calls it; not for a search."""
        return CalledTool(self.tool["type"], self.tool["name"], self.namespace)


def check_offered_tools(body: JsonObject) -> None:
    """Raise InvalidRequest when a tool of the request is wrong, or when there are too many."""
    for position, tool in enumerate(body.get("tools") or ()):
        check_tool(tool, f"tools[{position}]")
    tool_count = len(list_offered_tools(body))
    if tool_count > settings.TOOLS_LIMIT:
        message = f"A request has at most {settings.TOOLS_LIMIT} tools, not {tool_count}."
        raise InvalidRequest(message, param="tools")


def check_tool(tool: Tool, field_path: str) -> None:
    tool_type = tool.get("type")
    if tool_type is None:
        raise missing_parameter_error(f"{field_path}.type")
    if not isinstance(tool_type, str):
        message = "The type of a tool is a text."
        raise InvalidRequest(message, param=f"{field_path}.type", code="invalid_type")
    try:
        msgspec.convert(tool, TOOL_SHAPES.get(tool_type, HostedTool))
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), field_path)) from None
    for position, nested in enumerate(list_nested_tools(tool)):
        check_tool(nested, f"{field_path}.tools[{position}]")


def list_offered_tools(body: JsonObject) -> list[OfferedTool]:
    """Return the tools of a checked body that can run, each one once."""
    offered_tools: dict[object, OfferedTool] = {}
    for tool, field_path in iterate_tool_fields(body):
        for offered in expand_tool(tool, field_path):
            key = field_path if offered.is_search else offered.called_tool
            offered_tools.setdefault(key, offered)
    return list(offered_tools.values())


def expand_tool(tool: Tool, field_path: str) -> Iterator[OfferedTool]:
    """Yield the tool, or the tools of a namespace; nothing when it cannot run."""
    if tool["type"] in CALLED_TYPES or tool["type"] in WEB_SEARCH_TYPES:
        yield OfferedTool(tool, field_path)
    for position, nested in enumerate(list_nested_tools(tool)):
        if nested["type"] in CALLED_TYPES:
            yield OfferedTool(nested, f"{field_path}.tools[{position}]", tool["name"])


def list_nested_tools(tool: Tool) -> list[Tool]:
    """Return the tools of a namespace."""
    if tool["type"] != "namespace":
        return []
    nested_tools: list[Tool] = tool["tools"]
    return nested_tools


def iterate_tool_fields(body: JsonObject) -> Iterator[tuple[Tool, str]]:
    """Yield all tools of the body, whatever their types, with their places in it.

    A wrong tool in an item is left out, because the item may be part of a long history.
    """
    for position, tool in enumerate(body.get("tools") or ()):
        yield tool, f"tools[{position}]"
    items = body.get("input")
    for item_position, item in enumerate(items if isinstance(items, list) else ()):
        tools = item.get("tools") if item.get("type") in TOOL_ITEM_TYPES else None
        for position, tool in enumerate(tools if isinstance(tools, list) else ()):
            field_path = f"input[{item_position}].tools[{position}]"
            if is_valid_tool(tool, field_path):
                yield tool, field_path


def is_valid_tool(tool: object, field_path: str) -> bool:
    if not isinstance(tool, dict):
        return False
    try:
        check_tool(tool, field_path)
    except InvalidRequest:
        return False
    return True


def build_tool_names(
    offered_tools: Iterable[OfferedTool], *, keeps_custom_calls: bool = False
) -> ToolNames:
    """Return the chat names of the tools that the client runs."""
    called_tools = [offered.called_tool for offered in offered_tools if not offered.is_search]
    return ToolNames(called_tools, keeps_custom_calls=keeps_custom_calls)
