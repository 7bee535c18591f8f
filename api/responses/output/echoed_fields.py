"""The request fields that a response object repeats, in OpenAI's form: the value of Turn.settings.

Only fields that the request gave are kept; `ECHOED_DEFAULTS` has the values of all others. Source:
OpenAI's API reference, "The response object".
"""

from providers.protocol.json_types import JsonObject

ECHOED_DEFAULTS: JsonObject = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
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


def echo_fields(body: JsonObject) -> JsonObject:
    """Return the fields of the request that the response object repeats, a part of DEFAULTS."""
    found = {name: body[name] for name in ECHOED_DEFAULTS if body.get(name) is not None}
    if "tools" in found:
        found["tools"] = [echo_tool(tool) for tool in found["tools"]]
    if "reasoning" in found:
        found["reasoning"] = ECHOED_DEFAULTS["reasoning"] | found["reasoning"]
    if "text" in found:
        form = found["text"].get("format") or {"type": "text"}
        rest = {name: value for name, value in found["text"].items() if value is not None}
        found["text"] = rest | {
            "format": {name: value for name, value in form.items() if value is not None}
        }
    return found


def echo_tool(tool: JsonObject) -> JsonObject:
    """Return the tool with all fields of a function, because strict clients require them.

    A function is strict only when the request says so.
    """
    if tool["type"] != "function":
        return tool
    given = {name: value for name, value in tool.items() if value is not None}
    return {"description": None, "parameters": None, "strict": False} | given


def is_summary_requested(settings: JsonObject) -> bool:
    asked = settings.get("reasoning") or {}
    return bool(asked.get("summary") or asked.get("generate_summary"))
