"""Write the tools of a chat body, and the choice among them, for the Messages API. No I/O.

Source: Anthropic's API reference, "Messages" (`tools`, `tool_choice`), "Web search tool".
"""

import re

from providers.adapters.anthropic.content_blocks import MARK_FIELD
from providers.adapters.anthropic.model_families import ModelFamily
from providers.adapters.anthropic.output_schema import close_schema
from providers.exceptions import Rejected
from providers.protocol.json_types import FrozenJsonObject, JsonObject

NO_PARAMETERS: JsonObject = {"type": "object", "properties": {}}
# tools that run at Anthropic have a version in their type, such as web_search_20250305
SERVER_TOOL = re.compile(r"[a-z_]+_20\d{6}")
WEB_SEARCH_TOOL: JsonObject = {"type": "web_search_20250305", "name": "web_search"}
MOST_STRICT_TOOLS = 20
CALL_DEMAND = "Answer with a call of one of the tools."


def convert_tools(
    body: FrozenJsonObject, family: ModelFamily, *, searches_web: bool
) -> list[JsonObject]:
    """Return the tools; with `searches_web` the one that searches the web is among them."""
    strict_names = list_strict_names(body) if family.has_structured_output else frozenset()
    allowed_names = list_allowed_names(body)
    tools = [convert_tool(tool, strict_names) for tool in body.get("tools") or ()]
    if allowed_names is not None:
        tools = [tool for tool in tools if tool["name"] in allowed_names]
    if searches_web and not any(tool["name"] == WEB_SEARCH_TOOL["name"] for tool in tools):
        tools.append(make_search_tool(body.get("web_search_options")))
    return tools


def list_allowed_names(body: FrozenJsonObject) -> list[object] | None:
    """Return the names of the tools among which OpenAI's `allowed_tools` leaves the choice."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or not choice.get("allowed_tools"):
        return None
    allowed = choice["allowed_tools"].get("tools") or ()
    return [(tool.get("function") or tool).get("name") for tool in allowed]


def list_strict_names(body: FrozenJsonObject) -> frozenset[str]:
    """Return the names of the tools that are sent as strict ones: all that ask for it, or none.

    Anthropic takes only a few of them.
    """
    functions = [tool.get("function") or {} for tool in body.get("tools") or ()]
    names = frozenset(function.get("name", "") for function in functions if function.get("strict"))
    return names if len(names) <= MOST_STRICT_TOOLS else frozenset()


def is_known_tool(tool: JsonObject) -> bool:
    """Return whether a tool is a function, or one of Anthropic's own."""
    if isinstance(tool.get("function"), dict):
        return True
    return bool(SERVER_TOOL.fullmatch(tool["type"])) and isinstance(tool.get("name"), str)


def convert_tool(tool: JsonObject, strict_names: frozenset[str]) -> JsonObject:
    """Return a function as a tool; a tool of Anthropic's own stays as it is."""
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool
    converted = convert_function(function, strict_names)
    mark = tool.get(MARK_FIELD) or function.get(MARK_FIELD)
    if mark:
        converted[MARK_FIELD] = mark
    return converted


def convert_function(function: JsonObject, strict_names: frozenset[str]) -> JsonObject:
    """Return a function as a tool."""
    schema = function.get("parameters") or NO_PARAMETERS
    converted: JsonObject = {"name": function["name"]}
    if function.get("description"):
        converted["description"] = function["description"]
    if schema.get("type") != "object":
        schema = schema | {"type": "object"}
    if function["name"] in strict_names:
        return converted | {"input_schema": close_schema(schema), "strict": True}
    return converted | {"input_schema": schema}


def make_past_tool(name: str) -> JsonObject:
    """Return the definition of a tool that was called earlier and may not be called any more."""
    return {"name": name, "input_schema": NO_PARAMETERS}


def make_search_tool(options: object) -> JsonObject:
    """Return the tool that searches the web; OpenAI's options may say where the user is."""
    location = options.get("user_location") if isinstance(options, dict) else None
    place = location.get("approximate") if isinstance(location, dict) else None
    if not isinstance(place, dict):
        return WEB_SEARCH_TOOL
    known = {name: value for name, value in place.items() if value}
    return WEB_SEARCH_TOOL | {"user_location": {"type": "approximate"} | known}


def convert_tool_choice(body: FrozenJsonObject) -> JsonObject | None:
    """Return the choice among the tools; None where the body says nothing about it.

    Raises Rejected for a choice that Anthropic does not have.
    """
    choice = body.get("tool_choice")
    converted: JsonObject = {"type": "auto"}
    if choice == "none":
        return {"type": "none"}
    if choice == "required":
        converted = {"type": "any"}
    elif isinstance(choice, dict):
        converted = convert_named_choice(choice)
    if body.get("parallel_tool_calls") is False:
        converted["disable_parallel_tool_use"] = True
    if converted == {"type": "auto"} and choice is None:
        return None
    return converted


def convert_named_choice(choice: JsonObject) -> JsonObject:
    """Return the choice of one function, or of some (`list_allowed_names`).

    Raises Rejected for any other.
    """
    if choice.get("allowed_tools"):
        return {"type": "any" if choice["allowed_tools"].get("mode") == "required" else "auto"}
    function = choice.get("function") or choice
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise Rejected(
            "With Anthropic's models tool_choice is none, auto, required, or names a function.",
            param="tool_choice",
            code="unsupported_parameter",
        )
    return {"type": "tool", "name": name}


def is_forced(choice: JsonObject | None) -> bool:
    """Return whether a choice demands a call."""
    return choice is not None and choice["type"] in ("any", "tool")


def demand_in_words(choice: JsonObject) -> str:
    """Return the sentence that demands a call from a model that cannot be forced to one."""
    if choice["type"] == "tool":
        return f"Answer with a call of the tool {choice['name']}."
    return CALL_DEMAND
