"""The tools of a Messages body as those of a chat body.

Source: Anthropic's API reference, "Create a Message", `tools` and `tool_choice`.
"""

from api.messages.request.block_parts import MARK
from api.messages.request.known_tools import find_known_tool
from providers.protocol.json_types import JsonObject

SEARCH_PREFIX = "web_search_"
LOCATION_FIELDS = ("city", "country", "region", "timezone")
CHOICE_MODES = {"auto": "auto", "any": "required", "none": "none"}


def is_search(tool: JsonObject) -> bool:
    """Return whether a tool is Anthropic's web search, of whatever version."""
    return str(tool.get("type")).startswith(SEARCH_PREFIX)


def build_tool_fields(body: JsonObject) -> JsonObject:
    """Return the fields of a chat body for the tools of a validated body."""
    fields: JsonObject = {}
    tools = body.get("tools") or []
    chat_tools = map(build_chat_tool, tools)
    client_tools = [chat_tool for chat_tool in chat_tools if chat_tool is not None]
    choice = body.get("tool_choice") or {}
    if client_tools:
        fields["tools"] = client_tools
        if chosen := build_tool_choice(choice, tools):
            fields["tool_choice"] = chosen
        if choice.get("disable_parallel_tool_use"):
            fields["parallel_tool_calls"] = False
    search = next(filter(is_search, tools), None)
    if search is not None and choice.get("type") != "none":
        fields["web_search_options"] = build_search_options(search)
    return fields


def build_chat_tool(tool: JsonObject) -> JsonObject | None:
    """Return a tool that the client runs as a function; None for one that runs elsewhere."""
    function: JsonObject = {"name": tool.get("name")}
    if (tool.get("type") or "custom") == "custom":
        if tool.get("description"):
            function["description"] = tool["description"]
        function["parameters"] = tool["input_schema"]
        if tool.get("strict") is not None:
            function["strict"] = tool["strict"]
    elif known := find_known_tool(tool["type"]):
        function |= known
    else:
        return None
    chat_tool: JsonObject = {"type": "function", "function": function}
    if tool.get(MARK):
        chat_tool[MARK] = tool[MARK]
    return chat_tool


def build_tool_choice(choice: JsonObject, tools: list[JsonObject]) -> str | JsonObject | None:
    """Return the choice in the form of a chat body; None where there is nothing to say."""
    kind = choice.get("type")
    if kind == "tool":
        chosen = next(tool for tool in tools if tool.get("name") == choice["name"])
        if is_search(chosen):
            return None
        return {"type": "function", "function": {"name": choice["name"]}}
    return CHOICE_MODES[kind] if kind else None


def build_search_options(tool: JsonObject) -> JsonObject:
    """Return the options of a web search in the form of a chat body."""
    location = tool.get("user_location")
    if not location:
        return {}
    place = {name: location[name] for name in LOCATION_FIELDS if location.get(name) is not None}
    return {"user_location": {"type": "approximate", "approximate": place}}
