"""The choice among the tools of a response: what it means, and whether it can be served.

A choice that names a tool which cannot run here is refused, while an offer of such a tool is not.
Source: OpenAI's API reference, "Create a response", `tool_choice`.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from api.responses.request.offered_tools import (
    CALLED_TYPES,
    WEB_SEARCH_TYPES,
    OfferedTool,
    Tool,
    check_offered_tools,
    list_offered_tools,
)
from api.schemas.item_inputs import prefix_error_path
from api.schemas.json_body import invalid_value_error, missing_parameter_error
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

HOSTED_TYPES = ("mcp", "file_search")  # tools that the gateway may run, beside the search
CHOICE_MODES = ("none", "auto", "required")


class AllowedToolsChoice(Struct):
    mode: Literal["auto", "required"]
    tools: list[JsonObject]


def check_tools(body: JsonObject) -> None:
    """Raise InvalidRequest when a tool is wrong, or the choice among them is.

    Which tools the gateway runs depends on the model. So the choice is left to `check_choice` where
    a body has tools that it may run.
    """
    check_offered_tools(body)
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in CHOICE_MODES:
        raise InvalidRequest(
            "tool_choice is none, auto, required, or names a tool.", param="tool_choice"
        )
    if not offers_hosted_tools(body):
        check_choice(body)


def offers_hosted_tools(body: JsonObject) -> bool:
    """Return whether a body has tools that the gateway may run itself."""
    return any(
        tool["type"] in WEB_SEARCH_TYPES or tool["type"] in HOSTED_TYPES
        for tool in body.get("tools") or ()
    )


def check_choice(body: JsonObject) -> None:
    """Raise InvalidRequest when the choice among the tools of a checked body cannot be served."""
    choice = body.get("tool_choice")
    if choice in (None, "none", "auto"):
        return
    offered_tools = list_offered_tools(body)
    if not body.get("tools") and not offered_tools:
        raise InvalidRequest(
            "tool_choice is only allowed when tools are given.", param="tool_choice"
        )
    if isinstance(choice, dict):
        check_tool_choice(choice, offered_tools)
    elif not offered_tools:
        raise InvalidRequest(
            "tool_choice requires a call, but none of the tools can run here.",
            param="tool_choice",
            code="unsupported_parameter",
        )
    refuse_limited_search(body, offered_tools)


def check_tool_choice(choice: JsonObject, offered_tools: Sequence[OfferedTool]) -> None:
    if choice.get("type") != "allowed_tools":
        check_named_tool(choice, offered_tools, "tool_choice")
        return
    try:
        msgspec.convert(choice, AllowedToolsChoice)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), "tool_choice")) from None
    for position, named in enumerate(choice["tools"]):
        check_named_tool(named, offered_tools, f"tool_choice.tools[{position}]")


def check_named_tool(
    named_tool: JsonObject, offered_tools: Sequence[OfferedTool], field_path: str
) -> None:
    """Raise InvalidRequest unless the named tool can run and is offered."""
    tool_type = named_tool.get("type")
    if tool_type is None:
        raise missing_parameter_error(f"{field_path}.type")
    if any(is_chosen_tool(offered, named_tool) for offered in offered_tools):
        return
    if tool_type in (*CALLED_TYPES, "namespace"):
        message = f"tool_choice names {named_tool.get('name')!r}, which is not among the tools."
        raise InvalidRequest(message, param=field_path)
    if isinstance(tool_type, str) and tool_type in WEB_SEARCH_TYPES:
        message = "tool_choice names a web search, which is not among the tools."
        raise InvalidRequest(message, param=field_path)
    message = f"Tools of the type {str(tool_type)[:64]!r} cannot run here."
    raise InvalidRequest(message, param=field_path, code="unsupported_parameter")


def refuse_limited_search(body: JsonObject, offered_tools: list[OfferedTool]) -> None:
    """Raise InvalidRequest when a search that the request asks for is limited to some domains."""
    search = find_chosen_search(body.get("tool_choice"), offered_tools)
    if search is not None and has_domain_filters(search.tool):
        message = "A search cannot be limited to some domains here."
        param = f"{search.field_path}.filters"
        raise InvalidRequest(message, param=param, code="unsupported_parameter")


def is_chosen_tool(offered: OfferedTool, named_tool: JsonObject) -> bool:
    """Return whether a choice means this tool; a choice may leave the namespace out."""
    tool_type = named_tool.get("type")
    if offered.is_search:
        return isinstance(tool_type, str) and tool_type in WEB_SEARCH_TYPES
    if tool_type == "namespace":
        return bool(offered.namespace) and named_tool.get("name") == offered.namespace
    namespace = named_tool.get("namespace")
    return (
        tool_type == offered.tool["type"]
        and named_tool.get("name") == offered.tool["name"]
        and namespace in (None, offered.namespace)
    )


# --- meaning --------------------------------------------------------------------------------------
def select_allowed_tools(
    choice: str | JsonObject | None, offered_tools: list[OfferedTool]
) -> list[OfferedTool]:
    """Return the offered tools that the choice leaves to the model."""
    if not isinstance(choice, dict) or choice["type"] not in ("allowed_tools", "namespace"):
        return offered_tools
    named_tools = choice["tools"] if choice["type"] == "allowed_tools" else [choice]
    return [
        offered
        for offered in offered_tools
        if any(is_chosen_tool(offered, named) for named in named_tools)
    ]


def find_chosen_search(
    choice: str | JsonObject | None, offered_tools: list[OfferedTool]
) -> OfferedTool | None:
    """Return the search that the choice asks for: by its type, or as the only tool to call."""
    allowed_tools = select_allowed_tools(choice, offered_tools)
    search = next((offered for offered in allowed_tools if offered.is_search), None)
    if isinstance(choice, dict) and choice["type"] in WEB_SEARCH_TYPES:
        return search
    is_only_tool = all(offered.is_search for offered in allowed_tools)
    return search if read_choice_mode(choice) == "required" and is_only_tool else None


def read_choice_mode(choice: str | JsonObject | None) -> str | JsonObject | None:
    """Return the choice, or the mode of one among allowed tools."""
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        mode: str = choice["mode"]
        return mode
    if isinstance(choice, dict) and choice["type"] == "namespace":
        return "required"
    return choice


def has_domain_filters(tool: Tool) -> bool:
    return any((tool.get("filters") or {}).values())
