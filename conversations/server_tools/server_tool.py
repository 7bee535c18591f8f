"""The calls, outcomes and items of all tools that the gateway runs.

An item is one of OpenAI's Responses, without id and status. Under PRIVATE_FIELD it also has what a
model needs to see of the call in later turns; callers never get that. Source: the openai package's
types of output items.
"""

from typing import Protocol

import orjson
from msgspec import Struct

from conversations.messages.items import PRIVATE_FIELD
from conversations.messages.tool_names import CalledTool
from providers.protocol.json_types import JsonObject

COMPLETED = "completed"
FAILED = "failed"
IN_PROGRESS = "in_progress"
CUT_NOTE = "\n[cut: the result is longer than {limit} bytes]"


class ToolCall(Struct, frozen=True):
    """A call as the model made it; `arguments` is a text that should be a JSON object."""

    id: str
    name: str  # in the chat body
    arguments: str
    approval_id: str = ""  # of the request that the caller has approved


class ToolOutcome(Struct, frozen=True):
    """The end of a call: its item, its status, and the text that the model gets."""

    item: JsonObject
    output: str
    status: str = COMPLETED


class ServerTool(Protocol):
    """One function that the gateway runs."""

    @property
    def called_tool(self) -> CalledTool:
        """Return the name that it should have in a chat body."""

    @property
    def needs_approval(self) -> bool: ...

    def describe(self) -> JsonObject:
        """Return the fields of a chat function without its name."""

    def build_item(self, call: ToolCall) -> JsonObject:
        """Return the item of a call that has begun."""

    async def run(self, call: ToolCall, seconds: float) -> ToolOutcome:
        """Run a call, for at most so many seconds; a failure is an outcome, too."""

    def make_failure(self, call: ToolCall, message: str) -> ToolOutcome:
        """Return the outcome of a call that failed."""


def read_arguments(text: str) -> JsonObject | None:
    """Return the arguments of a call, None when they are no JSON object."""
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return None
    return arguments if isinstance(arguments, dict) else None


def read_query(text: str) -> str:
    """Return the argument `query` of a call in one line, empty when there is none."""
    query = (read_arguments(text) or {}).get("query")
    return " ".join(query.split()) if isinstance(query, str) else ""


def make_query_parameters(description: str) -> JsonObject:
    """Return the JSON schema of a function with the one argument `query`."""
    return {
        "type": "object",
        "properties": {"query": {"type": "string", "description": description}},
        "required": ["query"],
        "additionalProperties": False,
    }


def cut_output(text: str, limit_bytes: int) -> str:
    """Return the text as a model gets it: no longer than `limit_bytes` and a note."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return text
    return data[:limit_bytes].decode("utf-8", "ignore") + CUT_NOTE.format(limit=limit_bytes)


def add_private_fields(item: JsonObject, call: ToolCall, output: str) -> JsonObject:
    """Return an item with the call as the model wrote it and its output, for later turns."""
    private = {"call_id": call.id, "name": call.name, "arguments": call.arguments, "output": output}
    return item | {PRIVATE_FIELD: private}


def make_failed_outcome(item: JsonObject, call: ToolCall, output: str) -> ToolOutcome:
    """Return the outcome of a call that failed; `output` says so to the model."""
    return ToolOutcome(add_private_fields(item, call, output), output, FAILED)
