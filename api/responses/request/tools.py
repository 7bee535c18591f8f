"""The fields of a chat body for the tools of a response.

Functions are flat here and nested there. A custom tool becomes a function with one text argument,
`input`. Web search is a tool here and a field there (`web_search_options`). Agents offer a search
with every request, so an offer alone is no wish to search: the model's row, its alias or
`tool_choice` has to ask for it. Source: OpenAI's API reference, "Create a response", `tools`.
"""

from collections.abc import Sequence

from api.responses.request.offered_tools import OfferedTool, Tool, list_offered_tools
from api.responses.request.tool_choice import (
    find_chosen_search,
    has_domain_filters,
    is_chosen_tool,
    read_choice_mode,
    select_allowed_tools,
)
from api.schemas.chat_normalizer import nest_format
from conversations.messages.tool_names import ToolNames
from providers.choices import Search
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

FUNCTION_FIELDS = ("description", "parameters", "strict")
LOCATION_FIELDS = ("city", "country", "region", "timezone")
INPUT_HINT = "Call it with one argument, `input`: the text exactly as the tool takes it."
INPUT_PARAMETERS = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool."}},
    "required": ["input"],
    "additionalProperties": False,
}


def build_tool_fields(
    body: JsonObject, tool_names: ToolNames, search_setting: str = ""
) -> JsonObject:
    """Return the fields of a chat body for the tools of the validated `body`.

    When only some tools are allowed, the others are not sent: that works at every upstream.
    `search_setting` is choices.Search of the model's alias or row. Raises InvalidRequest when a
    search is chosen that is switched off.
    """
    choice = body.get("tool_choice")
    offered_tools = select_allowed_tools(choice, list_offered_tools(body))
    search = find_wanted_search(choice, offered_tools, search_setting)
    choice = read_choice_mode(choice)
    called_tools = [offered for offered in offered_tools if not offered.is_search]
    fields: JsonObject = {}
    if called_tools:
        fields["tools"] = [build_chat_tool(offered, tool_names) for offered in called_tools]
        fields["tool_choice"] = build_chat_tool_choice(choice, called_tools, tool_names)
        fields["parallel_tool_calls"] = body.get("parallel_tool_calls")
    if search is not None:
        fields["web_search_options"] = build_search_options(search.tool)
    return {name: value for name, value in fields.items() if value is not None}


def find_wanted_search(
    choice: str | JsonObject | None, offered_tools: list[OfferedTool], search_setting: str
) -> OfferedTool | None:
    """Return the search that the upstream is asked for, or None.

    Raises InvalidRequest when it is chosen, and switched off.
    """
    chosen_search = find_chosen_search(choice, offered_tools)
    if chosen_search is not None:
        if search_setting == Search.OFF:
            message = "Web search is switched off for this model, so it cannot be chosen."
            raise InvalidRequest(message, param="tool_choice", code="unsupported_parameter")
        return chosen_search
    if search_setting != Search.ON or choice == "none":
        return None
    return next((offered for offered in offered_tools if may_be_searched(offered)), None)


def may_be_searched(offered: OfferedTool) -> bool:
    """Return whether an offered search may run as it is meant: in the whole web, and live."""
    is_live = offered.is_search and offered.tool.get("external_web_access") is not False
    return is_live and not has_domain_filters(offered.tool)


def build_chat_tool_choice(
    choice: str | JsonObject | None, called_tools: Sequence[OfferedTool], tool_names: ToolNames
) -> str | JsonObject | None:
    """Return the choice in the form of a chat completion; None for a forced search."""
    if not isinstance(choice, dict):
        return choice
    chosen_tools = [offered for offered in called_tools if is_chosen_tool(offered, choice)]
    if not chosen_tools:
        return None
    tool = chosen_tools[0].called_tool
    kind = tool.kind if tool_names.keeps_custom_calls else "function"
    return {"type": kind, kind: {"name": tool_names.find_chat_name(tool)}}


def build_chat_tool(offered: OfferedTool, tool_names: ToolNames) -> Tool:
    """Return the tool in the form of a chat completion."""
    tool = offered.tool
    name = tool_names.find_chat_name(offered.called_tool)
    if tool["type"] == "custom":
        if tool_names.keeps_custom_calls:
            return {"type": "custom", "custom": {"name": name, **build_custom_fields(tool)}}
        description = describe_custom_tool(tool)
        fields = {"name": name, "description": description, "parameters": INPUT_PARAMETERS}
        return {"type": "function", "function": fields}
    fields = {field: tool[field] for field in FUNCTION_FIELDS if tool.get(field) is not None}
    return {"type": "function", "function": {"name": name, **fields}}


def describe_custom_tool(tool: Tool) -> str:
    """Return the description of a custom tool as a function, with the grammar of its input."""
    input_format = tool.get("format") or {}
    sentences = [tool.get("description") or "", INPUT_HINT]
    if input_format.get("definition"):
        syntax = input_format.get("syntax") or "this"
        sentences.append(f"The text matches this grammar ({syntax}):")
        sentences.append(input_format["definition"])
    return "\n\n".join(filter(None, sentences))


def build_custom_fields(tool: Tool) -> JsonObject:
    """Return description and format of a custom tool as a chat completion has them."""
    fields = {}
    if tool.get("description") is not None:
        fields["description"] = tool["description"]
    if tool.get("format"):
        fields["format"] = nest_format(tool["format"])
    return fields


def build_search_options(tool: Tool) -> JsonObject:
    options: JsonObject = {}
    if tool.get("search_context_size"):
        options["search_context_size"] = tool["search_context_size"]
    location = tool.get("user_location")
    if location:
        place = {name: location[name] for name in LOCATION_FIELDS if location.get(name) is not None}
        options["user_location"] = {"type": "approximate", "approximate": place}
    return options
