"""The body of /v1/messages, as a validated dict that keeps every field the caller sent.

Source: Anthropic's API reference, "Create a Message" and "Count tokens in a Message".
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct

from api.messages.request import block_shapes, tool_pairs
from api.schemas.body_shapes import Name, Tokens
from api.schemas.json_body import Maybe, missing_parameter_error, parse_json_body, refuse_long_list
from providers.exceptions import InvalidRequest
from providers.fast_settings import settings
from providers.protocol.json_types import JsonObject

LEAST_BUDGET_TOKENS = 1_024  # of thinking


class MessageShape(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[JsonObject]


class MessageMetadata(Struct):
    user_id: str | Maybe = UNSET


class ThinkingShape(Struct):
    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: int | Maybe = UNSET
    display: Literal["summarized", "omitted"] | Maybe = UNSET


class OutputFormat(Struct):
    type: Literal["json_schema"]
    schema: JsonObject
    name: str | Maybe = UNSET


class OutputConfig(Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | Maybe = UNSET
    format: OutputFormat | Maybe = UNSET


class ToolChoiceShape(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | Maybe = UNSET
    disable_parallel_tool_use: bool | Maybe = UNSET


class MessageCountBody(Struct, kw_only=True):
    """The body of a request that is only counted."""

    model: Name
    messages: Annotated[list[MessageShape], Meta(min_length=1)]
    system: str | list[JsonObject] | Maybe = UNSET
    tools: list[JsonObject] | Maybe = UNSET
    tool_choice: ToolChoiceShape | Maybe = UNSET
    thinking: ThinkingShape | Maybe = UNSET
    output_config: OutputConfig | Maybe = UNSET
    output_format: OutputFormat | Maybe = UNSET


class MessagesBody(MessageCountBody, kw_only=True):
    max_tokens: Tokens
    metadata: MessageMetadata | Maybe = UNSET
    service_tier: str | Maybe = UNSET
    stop_sequences: Annotated[list[str], Meta(max_length=8_191)] | Maybe = UNSET
    stream: bool | Maybe = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | Maybe = UNSET
    top_k: Annotated[int, Meta(ge=0)] | Maybe = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | Maybe = UNSET
    thread: JsonObject | Maybe = UNSET


def read_messages_body(raw: bytes, shape: type[MessageCountBody] = MessagesBody) -> JsonObject:
    """Return the validated body.

    Raises InvalidJson or InvalidRequest, with `param` when one field is at fault.
    """
    body = parse_json_body(raw, shape)
    refuse_long_list(body, "messages", settings.MESSAGES_LIMIT)
    refuse_long_list(body, "tools", settings.TOOLS_LIMIT)
    if isinstance(body.get("system"), list):
        block_shapes.check_blocks(body["system"], "system", "system")
    for position, message in enumerate(body["messages"]):
        if isinstance(message["content"], list):
            path = f"messages[{position}].content"
            block_shapes.check_blocks(message["content"], path, message["role"])
    tool_pairs.check_pairs(body["messages"])
    check_tools(body)
    check_thinking(body)
    return body


def check_tools(body: JsonObject) -> None:
    """Raise InvalidRequest unless each tool has a name, and the choice is one of them."""
    tools = body.get("tools") or []
    names = set()
    for position, tool in enumerate(tools):
        path = f"tools[{position}]"
        kind = tool.get("type") or "custom"
        if not isinstance(kind, str):
            raise InvalidRequest("The type of a tool is a text.", param=f"{path}.type")
        if "toolset" in kind:  # several tools of Anthropic's, which has no name
            continue
        block_shapes.check_shape(tool, block_shapes.find_tool_shape(kind), path)
        if tool["name"] in names:
            raise InvalidRequest("Tool names must be unique.", param=f"{path}.name")
        names.add(tool["name"])
    choice = body.get("tool_choice") or {}
    if choice.get("type") in ("any", "tool") and not tools:
        message = "Tools are needed when one of them has to be called."
        raise InvalidRequest(message, param="tool_choice")
    if choice.get("type") == "tool":
        if not choice.get("name"):
            raise missing_parameter_error("tool_choice.name")
        if choice["name"] not in names:
            message = f"Tool {choice['name']!r} not found in provided tools."
            raise InvalidRequest(message, param="tool_choice.name")


def check_thinking(body: JsonObject) -> None:
    """Raise InvalidRequest unless the budget of thinking fits into the limit of the answer."""
    thinking = body.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    path = "thinking.budget_tokens"
    if budget is None:
        raise missing_parameter_error(path)
    if budget < LEAST_BUDGET_TOKENS:
        raise InvalidRequest(f"A budget has at least {LEAST_BUDGET_TOKENS} tokens.", param=path)
    # with interleaved thinking (beta) the budget spans several answers
    if "max_tokens" in body and budget >= body["max_tokens"]:
        raise InvalidRequest("`max_tokens` must be greater than the budget.", param="max_tokens")
