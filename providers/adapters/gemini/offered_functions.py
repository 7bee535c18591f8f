"""Turn the tools of a chat body into Gemini's `tools` and `toolConfig`. No I/O.

A custom tool, which takes free text, becomes a function with the one argument `input`.
"""

from providers.exceptions import Rejected
from providers.protocol.json_types import FrozenJsonObject, JsonObject

CUSTOM_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
CHOICE_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def build_tools(body: FrozenJsonObject, *, searches: bool) -> JsonObject:
    """Return `tools` and `toolConfig` as far as the body needs them. Raises Rejected."""
    fields: JsonObject = {}
    tools: list[JsonObject] = []
    if declarations := build_declarations(body):
        tools.append({"functionDeclarations": declarations})
        if config := build_calling_config(body):
            fields["toolConfig"] = {"functionCallingConfig": config}
    if searches:
        tools.append({"googleSearch": {}})
    if tools:
        fields["tools"] = tools
    return fields


def build_declarations(body: FrozenJsonObject) -> list[JsonObject]:
    """Return the declarations of the offered functions. Raises Rejected for other tools."""
    declarations = [build_declaration(tool) for tool in body.get("tools") or ()]
    declarations += [declare_function(function) for function in body.get("functions") or ()]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = read_allowed_names(choice)
        declarations = [entry for entry in declarations if entry["name"] in allowed]
    return declarations


def build_declaration(tool: JsonObject) -> JsonObject:
    """Return the declaration of one tool. Raises Rejected when Gemini has no such tools."""
    if isinstance(tool.get("function"), dict):
        return declare_function(tool["function"])
    if isinstance(tool.get("custom"), dict):
        return declare_function(tool["custom"] | {"parameters": CUSTOM_SCHEMA})
    raise Rejected(
        f"Gemini cannot be offered a tool of the type {tool.get('type')!r}.",
        param="tools",
        code="unsupported_parameter",
    )


def declare_function(function: JsonObject) -> JsonObject:
    """Return the declaration of a function; its parameters stay the JSON schema that they are."""
    declaration = {"name": function.get("name")}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        declaration["parametersJsonSchema"] = function["parameters"]
    return declaration


def build_calling_config(body: FrozenJsonObject) -> JsonObject:
    """Return the `functionCallingConfig` of a tool choice; empty where the model decides."""
    choice = body.get("tool_choice") or body.get("function_call")
    if isinstance(choice, str):
        return {"mode": CHOICE_MODES.get(choice, "AUTO")}
    if not isinstance(choice, dict):
        return {}
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or choice
        return {"mode": CHOICE_MODES.get(allowed.get("mode") or "", "AUTO")}
    named = choice.get("function") or choice.get("custom") or choice
    return {"mode": "ANY", "allowedFunctionNames": [named.get("name")]}


def read_allowed_names(choice: JsonObject) -> set[str]:
    """Return the names of the tools that a choice of `allowed_tools` leaves."""
    allowed = choice.get("allowed_tools") or choice
    named = [tool.get("function") or tool.get("custom") or tool for tool in allowed["tools"]]
    return {str(tool.get("name")) for tool in named}


def find_custom_names(body: FrozenJsonObject) -> frozenset[str]:
    """Return the names of the custom tools, whose calls go back with free text."""
    custom_tools = (tool.get("custom") for tool in body.get("tools") or ())
    return frozenset(tool["name"] for tool in custom_tools if isinstance(tool, dict))
