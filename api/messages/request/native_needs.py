"""Wishes of a Messages body that only an upstream of Anthropic's dialect can fulfil.

Each is refused by its name where no such upstream answers. Fields that only make a request cheaper
or faster (`context_management`, `diagnostics`, `speed`, …) are left out there instead.
"""

from collections.abc import Iterator

from api.messages.request.chat_tools import build_chat_tool, is_search
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

NATIVE_FIELDS = ("container", "mcp_servers", "compaction", "inference_geo")
THREAD_CODE = "thread_unsupported_request"
UNSUPPORTED = "unsupported_parameter"
# fields that a chat body says as well, or that are refused where it cannot
SERVED_FIELDS = frozenset(
    """
    model messages system max_tokens stream temperature top_p top_k thinking stop_sequences
    service_tier metadata output_config output_format tools tool_choice thread
    """.split()
).union(NATIVE_FIELDS)
MOST_NAMES = 8  # of fields in a header


def list_omitted_fields(body: JsonObject) -> list[str]:
    """Return the names of fields that no upstream of another dialect gets, sorted."""
    names = (name for name in body.keys() - SERVED_FIELDS if body[name] is not None)
    return sorted(names)[:MOST_NAMES]


def find_native_needs(body: JsonObject, *, can_search: bool) -> Iterator[InvalidRequest]:
    """Yield the error for each wish that a chat body cannot express.

    `can_search`: the model can search the web for others than Anthropic's upstreams too.
    """
    if body.get("thread"):
        message = "Threads are not kept here: send all messages, without `thread`."
        yield InvalidRequest(message, param="thread", code=THREAD_CODE)
    for name in NATIVE_FIELDS:
        if body.get(name):
            yield refuse_wish(name, f"{name!r} is not supported for this model.")
    yield from find_tool_needs(body, can_search=can_search)
    for position, message in enumerate(body["messages"]):
        content = message["content"]
        for place, block in enumerate(content if isinstance(content, list) else ()):
            path = f"messages[{position}].content[{place}]"
            if (block.get("citations") or {}) == {"enabled": True}:
                yield refuse_wish(f"{path}.citations", "This model cannot cite documents.")


def find_tool_needs(body: JsonObject, *, can_search: bool) -> Iterator[InvalidRequest]:
    """Yield the error for each tool that would have to run at Anthropic's."""
    for position, tool in enumerate(body.get("tools") or ()):
        path = f"tools[{position}]"
        kind = tool.get("type") or "custom"
        if is_search(tool):
            domains = [name for name in ("allowed_domains", "blocked_domains") if tool.get(name)]
            if not can_search:
                yield refuse_wish(path, f"This model cannot search the web: {kind!r} cannot run.")
            elif domains:
                message = "A search cannot be limited to some domains here."
                yield refuse_wish(f"{path}.{domains[0]}", message)
        elif build_chat_tool(tool) is None:
            yield refuse_wish(path, f"The tool {kind!r} cannot run for this model.")


def refuse_wish(param: str, message: str) -> InvalidRequest:
    """Return the error for a wish that cannot be fulfilled."""
    return InvalidRequest(message, param=param, code=UNSUPPORTED)
