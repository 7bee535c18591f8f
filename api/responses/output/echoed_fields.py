"""The request fields that a response object repeats, in OpenAI's form: the value of Turn.settings.

Only fields that the request gave are kept; `ECHOED_DEFAULTS` has the values of all others. Source:
OpenAI's API reference, "The response object".
"""

from providers.protocol.json_types import JsonObject

ECHOED_DEFAULTS: JsonObject = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
CREDENTIAL_FIELDS = ("authorization", "headers")  # of an MCP server
NO_SUMMARY = "none"  # clients write it for no summary, OpenAI's objects have null


def echo_fields(body: JsonObject) -> JsonObject:
    """Return the fields of the request that the response object repeats, as in ECHOED_DEFAULTS."""
    echoed = {name: body[name] for name in ECHOED_DEFAULTS if body.get(name) is not None}
    if "tools" in echoed:
        echoed["tools"] = [echo_tool(tool) for tool in echoed["tools"]]
    if "reasoning" in echoed:
        reasoning = {
            name: None if value == NO_SUMMARY else value
            for name, value in echoed["reasoning"].items()
        }
        echoed["reasoning"] = ECHOED_DEFAULTS["reasoning"] | reasoning
    if "text" in echoed:
        text_format = echoed["text"].get("format") or {"type": "text"}
        echoed["text"] = drop_nulls(echoed["text"]) | {"format": drop_nulls(text_format)}
    return echoed


def echo_tool(tool: JsonObject) -> JsonObject:
    """Return the tool with all fields of its type, because strict clients require them.

    A function is strict only when the request says so.
    """
    if tool["type"] == "mcp":  # the caller's credential is neither stored nor shown
        return {name: value for name, value in tool.items() if name not in CREDENTIAL_FIELDS}
    if tool["type"] == "namespace":
        return {"description": "", **drop_nulls(tool)}
    if tool["type"] != "function":
        return tool
    return {"description": None, "parameters": None, "strict": False} | drop_nulls(tool)


def drop_nulls(fields: JsonObject) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}


def is_summary_requested(settings: JsonObject) -> bool:
    reasoning = settings.get("reasoning") or {}
    return bool(reasoning.get("summary") or reasoning.get("generate_summary"))
