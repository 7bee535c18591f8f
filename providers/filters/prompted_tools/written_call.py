"""A tool call that a model wrote as text, and how its JSON is read. No I/O."""

import re
from typing import NamedTuple

import orjson

from providers.protocol.json_types import JsonObject
from providers.wire.json_reader import read_json

ToolsByName = dict[str, JsonObject]  # function objects ({name, description, parameters})
NAME_KEYS = ("name", "tool", "function", "tool_name")  # the last is Cohere's
ARGUMENT_KEYS = ("arguments", "parameters")
CALL_KEYS = frozenset((*NAME_KEYS, *ARGUMENT_KEYS, "id", "tool_call_id", "type", "index"))
# the only keys of a call whose values are objects or lists
NESTED_KEYS = frozenset((*ARGUMENT_KEYS, "function", "tool_calls"))
# keys of a JSON Schema: it describes the tool and does not call it
SCHEMA_KEYS = frozenset(("type", "properties"))


# what models put around the name of a tool: `functions.NAME:0`, also without the marks
NAME_PREFIXES = ("", "functions.", "functions", "function.", "tools.")
NAME_COUNTER = re.compile(r":?\d+\Z")


class WrittenCall(NamedTuple):
    """One call; `arguments` is the JSON text of an object, `id` the id that the model gave it."""

    name: str
    arguments: str
    id: str = ""


def resolve_tool_name(written_name: str, tools: ToolsByName) -> str:
    """Return the tool that a name means where only the name of a tool can stand; else empty."""
    written_name = written_name.strip()
    for counter_pattern in (None, NAME_COUNTER):
        for prefix in NAME_PREFIXES:
            name = written_name.removeprefix(prefix)
            if counter_pattern:
                name = counter_pattern.sub("", name)
            if name in tools and written_name.startswith(prefix):
                return name
    return ""


def parse_json_value(text: str) -> object:
    """Return the JSON value, or None."""
    try:
        value: object = read_json(text.encode("utf-8", "replace"))
    except ValueError:
        return None
    return value


def extract_calls(value: object, tools: ToolsByName, *, is_tagged: bool) -> list[WrittenCall]:
    """Return the calls of a parsed JSON value.

    `is_tagged`: only a call can stand here, so the value may be less exact.
    """
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
        is_tagged = True
    items = [value]
    if isinstance(value, list):
        if not is_tagged:
            return []
        items = value
    calls = (extract_call(item, tools, is_tagged=is_tagged) for item in items)
    return [call for call in calls if call is not None]


def extract_listed_calls(value: object, tools: ToolsByName) -> list[WrittenCall]:
    """Return the calls of a list in which each item is exactly a call; none of any other."""
    if not isinstance(value, list):
        return []
    calls = [extract_call(item, tools, is_tagged=False) for item in value]
    return [call for call in calls if call is not None] if all(calls) else []


def extract_call(value: object, tools: ToolsByName, *, is_tagged: bool) -> WrittenCall | None:
    """Return the call that an object means, or None.

    It is {name, arguments} under one of their names, or {function: {…}} around them.
    """
    if not isinstance(value, dict):
        return None
    call: JsonObject = value
    if isinstance(call.get("function"), dict):
        call = call["function"]
    name = next((call[key] for key in NAME_KEYS if isinstance(call.get(key), str)), None)
    if name is not None and is_tagged:
        name = resolve_tool_name(name, tools)
    if name is None or name not in tools:
        return None
    arguments_key = next((key for key in ARGUMENT_KEYS if key in call), None)
    if arguments_key is None:
        if not is_tagged:
            return None
        return build_written_call(name, None, value.get("id"))
    arguments = call[arguments_key]
    if not is_tagged and not call.keys() <= CALL_KEYS:
        return None
    if arguments_key == "parameters" and is_schema(arguments):
        return None
    return build_written_call(name, arguments, value.get("id"))


def is_schema(value: object) -> bool:
    """Return whether a value is a JSON Schema of arguments, and not the arguments."""
    return isinstance(value, dict) and value.keys() >= SCHEMA_KEYS


def build_written_call(name: str, arguments: object, call_id: object = "") -> WrittenCall | None:
    """Return a call with arguments given as an object or as the JSON text of one, or None.

    Missing arguments become an empty object.
    """
    if not isinstance(call_id, str):
        call_id = ""
    if arguments is None or arguments == "":
        return WrittenCall(name, "{}", call_id)
    if isinstance(arguments, str):
        value = parse_json_value(arguments)
        if isinstance(value, dict) and is_strict_json(arguments):
            return WrittenCall(name, arguments, call_id)
        arguments = value
    if not isinstance(arguments, dict):
        return None
    try:
        return WrittenCall(name, orjson.dumps(arguments).decode(), call_id)
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, or half a character
        return None


def is_strict_json(text: str) -> bool:
    """Return whether every reader of JSON accepts this text."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
