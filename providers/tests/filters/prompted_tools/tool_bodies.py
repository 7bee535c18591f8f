"""Bodies with tools, rewritten for a model that cannot call them."""

import copy
from typing import Any

from providers.filters.prompted_tools.tool_request import rewrite_tool_request

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "-x": {"enum": ["ä", 1]}},
    "required": ["city"],
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
USER = {"role": "user", "content": "Hi", "name": "Ann"}


def rewrite_body(**fields: Any) -> dict[str, Any]:
    """The body that goes down; the one given must not change, nor anything in it."""
    body = {"model": "m", "messages": [USER], "tools": [WEATHER, CLOCK]} | fields
    before = copy.deepcopy(body)
    found = rewrite_tool_request(body)
    assert body == before
    return found
