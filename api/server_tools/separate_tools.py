"""Divide the tools of a body: the gateway runs some, the rest of the body goes the usual way."""

from collections.abc import Set
from typing import NamedTuple

from api.responses.request.offered_tools import WEB_SEARCH_TYPES, Tool
from api.server_tools.tool_shapes import KINDS_BY_TYPE
from conversations.server_tools.tool_plan import ChoiceMode, ToolChoice
from providers.choices import ServerTool
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

CHOICE_MODES: dict[str, ChoiceMode] = {"none": "none", "auto": "auto", "required": "required"}


class PlacedTool(NamedTuple):
    """A tool of a body that the gateway runs, with its kind and its place."""

    kind: str  # choices.ServerTool
    tool: Tool
    field_path: str


class SeparatedBody(NamedTuple):
    """The tools that the gateway runs, the choice that concerns them, and the body without them."""

    tools: list[PlacedTool]
    choice: ToolChoice
    body: JsonObject


def separate_tools(body: JsonObject, kinds: Set[str]) -> SeparatedBody:
    """Return the parts of a body whose tools are of these kinds.

    Raises InvalidRequest when `tool_choice` names one of these tools that is not offered.
    """
    placed_tools: list[PlacedTool] = []
    other_tools: list[Tool] = []
    for position, tool in enumerate(body.get("tools") or ()):
        kind = KINDS_BY_TYPE.get(str(tool.get("type")), "")
        if kind in kinds and tool.get("external_web_access") is not False:
            placed_tools.append(PlacedTool(kind, tool, f"tools[{position}]"))
        else:
            other_tools.append(tool)
    if not placed_tools:
        return SeparatedBody([], ToolChoice(), body)
    other_body = {name: value for name, value in body.items() if name != "tools"}
    if other_tools:
        other_body["tools"] = other_tools
    return separate_choice(placed_tools, other_body)


def separate_choice(placed_tools: list[PlacedTool], body: JsonObject) -> SeparatedBody:
    """Divide `tool_choice` in the same way; `body` has only the other tools."""
    choice = body.get("tool_choice")
    has_others = bool(body.get("tools"))
    without_choice = {name: value for name, value in body.items() if name != "tool_choice"}
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return separate_allowed_tools(placed_tools, body, choice)
    if isinstance(choice, dict) and KINDS_BY_TYPE.get(str(choice.get("type"))):
        if not any(is_named(placed, choice) for placed in placed_tools):
            message = f"tool_choice names {choice.get('type')!r}, which is not among the tools."
            raise InvalidRequest(message, param="tool_choice")
        return SeparatedBody(placed_tools, read_named_choice(choice), without_choice)
    if isinstance(choice, str):
        mode = ToolChoice(CHOICE_MODES.get(choice, ""))
        return SeparatedBody(placed_tools, mode, body if has_others else without_choice)
    return SeparatedBody(placed_tools, ToolChoice(), body)


def separate_allowed_tools(
    placed_tools: list[PlacedTool], body: JsonObject, choice: JsonObject
) -> SeparatedBody:
    """Divide a choice that leaves only some tools to the model."""
    named_tools = [named for named in choice.get("tools") or () if isinstance(named, dict)]
    allowed = [
        placed for placed in placed_tools if any(is_named(placed, named) for named in named_tools)
    ]
    others = [named for named in named_tools if str(named.get("type")) not in KINDS_BY_TYPE]
    mode = CHOICE_MODES.get(str(choice.get("mode")), "auto")
    body = dict(body)
    if others:
        body["tool_choice"] = choice | {"tools": others}
    else:
        body.pop("tool_choice")
        body.pop("tools", None)
    return SeparatedBody(allowed, ToolChoice(mode), body)


def is_named(placed: PlacedTool, named: JsonObject) -> bool:
    """Return whether a choice names this tool."""
    if KINDS_BY_TYPE.get(str(named.get("type"))) != placed.kind:
        return False
    label = named.get("server_label")
    return placed.kind != ServerTool.MCP or label in (None, placed.tool.get("server_label"))


def read_named_choice(choice: JsonObject) -> ToolChoice:
    """Return a choice that names one of these tools."""
    kind = "web_search" if choice["type"] in WEB_SEARCH_TYPES else str(choice["type"])
    return ToolChoice(
        "required", kind, str(choice.get("server_label") or ""), str(choice.get("name") or "")
    )
