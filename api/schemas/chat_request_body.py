"""The bodies of chat completions, completions and embeddings, as validated dicts.

Documented fields are checked against OpenAI's reference (types, ranges, enums) with msgspec.
Unknown fields are kept and passed on to upstreams. Fields that would choose a URL, header or
credential are refused. An error names the field in `param`. Source: OpenAI's API reference for chat
completions, completions and embeddings.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct

from api.schemas.chat_normalizer import normalize_chat_body
from api.schemas.json_body import Maybe, missing_parameter_error, parse_json_body, refuse_long_list
from conversations.strategies.multipath.multipath_options import CandidateCount
from providers.exceptions import InvalidRequest
from providers.fast_settings import settings
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS

# Fields of ours that can make a request part of a conversation, and all that are never sent on.
CONVERSATION_FIELDS = frozenset(("conversation_id", "session_id", "store"))
OWN_FIELDS = CONVERSATION_FIELDS | {"reasoning_format", "mpr_candidates", "long_prompts"}
# Roles whose messages need content, and fields that other messages may have instead.
ROLES_WITH_CONTENT = (*SYSTEM_ROLES, "user", "tool")
CONTENT_SUBSTITUTES = frozenset(
    ("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning")
)
PART_TYPES = ("text", "image_url", "input_audio", "file")  # each has its content in such a field
CHOICE_MODES = ("none", "auto", "required")
Name = Annotated[str, Meta(min_length=1, max_length=200)]
FunctionName = Annotated[str, Meta(min_length=1, max_length=256)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Tokens = Annotated[int, Meta(ge=1, le=100_000_000)]


class Part(Struct):
    type: Annotated[str, Meta(min_length=1)]
    text: str | Maybe = UNSET
    image_url: JsonObject | str | Maybe = UNSET
    input_audio: JsonObject | Maybe = UNSET
    file: JsonObject | Maybe = UNSET


class FunctionCall(Struct):
    name: str
    arguments: str


class ToolCall(Struct):
    id: str
    function: FunctionCall | Maybe = UNSET
    type: str = "function"


class Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | Maybe = UNSET
    name: str | Maybe = UNSET
    tool_calls: list[ToolCall] | Maybe = UNSET
    tool_call_id: str | Maybe = UNSET
    function_call: FunctionCall | Maybe = UNSET
    refusal: str | Maybe = UNSET
    reasoning_content: str | Maybe = UNSET
    reasoning: Any = UNSET


class Function(Struct):
    name: FunctionName
    description: str | Maybe = UNSET
    parameters: JsonObject | Maybe = UNSET
    strict: bool | Maybe = UNSET


class Tool(Struct):
    type: Annotated[str, Meta(min_length=1)]
    function: Function | Maybe = UNSET


class NamedFunction(Struct):
    name: FunctionName


class NamedTool(Struct):
    type: Annotated[str, Meta(min_length=1)] = "function"
    function: NamedFunction | Maybe = UNSET


class AllowedTools(Struct):
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class ToolChoice(NamedTool):
    allowed_tools: AllowedTools | Maybe = UNSET


class JsonSchema(Struct):
    name: FunctionName
    schema: JsonObject | Maybe = UNSET
    description: str | Maybe = UNSET
    strict: bool | Maybe = UNSET


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    json_schema: JsonSchema | Maybe = UNSET


class StreamOptions(Struct):
    include_usage: bool | Maybe = UNSET
    include_obfuscation: bool | Maybe = UNSET


class Sampling(Struct):
    """The fields that chat completions and legacy completions share."""

    model: Name
    frequency_penalty: Penalty | Maybe = UNSET
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | Maybe = UNSET
    max_tokens: Tokens | Maybe = UNSET
    n: Annotated[int, Meta(ge=1, le=128)] | Maybe = UNSET
    presence_penalty: Penalty | Maybe = UNSET
    seed: int | Maybe = UNSET
    # OpenAI accepts 4, DeepSeek 16
    stop: str | Annotated[list[str], Meta(max_length=16)] | Maybe = UNSET
    stream: bool | Maybe = UNSET
    stream_options: StreamOptions | Maybe = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | Maybe = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | Maybe = UNSET
    user: str | Maybe = UNSET


class ChatBody(Sampling, kw_only=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    audio: JsonObject | Maybe = UNSET
    function_call: str | NamedFunction | Maybe = UNSET
    functions: list[Function] | Maybe = UNSET
    logprobs: bool | Maybe = UNSET
    max_completion_tokens: Tokens | Maybe = UNSET
    metadata: dict[str, str] | Maybe = UNSET
    modalities: list[str] | Maybe = UNSET
    parallel_tool_calls: bool | Maybe = UNSET
    prediction: JsonObject | Maybe = UNSET
    prompt_cache_key: str | Maybe = UNSET
    reasoning_effort: str | Maybe = UNSET
    reasoning_format: Literal["parsed", "raw", "hidden"] | Maybe = UNSET
    response_format: ResponseFormat | Maybe = UNSET
    safety_identifier: str | Maybe = UNSET
    service_tier: str | Maybe = UNSET
    store: bool | Maybe = UNSET
    tool_choice: str | ToolChoice | Maybe = UNSET
    tools: list[Tool] | Maybe = UNSET
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | Maybe = UNSET
    verbosity: str | Maybe = UNSET
    web_search_options: JsonObject | Maybe = UNSET
    conversation_id: str | Maybe = UNSET
    session_id: str | Maybe = UNSET
    mpr_candidates: CandidateCount | Maybe = UNSET
    long_prompts: Literal["fit", "refuse"] | Maybe = UNSET


class CompletionBody(Sampling, kw_only=True):
    prompt: str | list[str | int | list[int]] | None
    best_of: Annotated[int, Meta(ge=1, le=128)] | Maybe = UNSET
    echo: bool | Maybe = UNSET
    logprobs: Annotated[int, Meta(ge=0, le=5)] | Maybe = UNSET
    suffix: str | Maybe = UNSET


class EmbeddingBody(Struct):
    model: Name
    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[Annotated[str, Meta(min_length=1)] | int | list[int]], Meta(min_length=1)]
    )
    dimensions: Annotated[int, Meta(ge=1, le=65_536)] | Maybe = UNSET
    encoding_format: Literal["float", "base64"] | Maybe = UNSET
    user: str | Maybe = UNSET


BODY_TYPES: dict[str, type[Struct]] = {
    CHAT: ChatBody,
    COMPLETIONS: CompletionBody,
    EMBEDDINGS: EmbeddingBody,
}


def read_request_body(endpoint: str, raw: bytes) -> JsonObject:
    """Return the validated body of a request to this endpoint.

    Raises InvalidJson or InvalidRequest, with `param` when one field is at fault.
    """
    body = parse_json_body(raw, BODY_TYPES[endpoint])
    if endpoint == CHAT:
        body = normalize_chat_body(body)
        check_chat_body(body)
    else:
        check_prompt_items(body, "prompt" if endpoint == COMPLETIONS else "input")
    return body


def check_prompt_items(body: JsonObject, field: str) -> None:
    """Raise InvalidRequest unless the prompts or inputs are of one kind, and not too many.

    They are all texts, all token numbers, or all lists of token numbers. A list of token numbers is
    one prompt, so its length is not limited here.
    """
    items = body[field]
    if not isinstance(items, list) or not items:
        return
    if not isinstance(items[0], int):
        limit = settings.MESSAGES_LIMIT if field == "prompt" else settings.INPUTS_LIMIT
        refuse_long_list(body, field, limit)
    if len({type(item) for item in items}) > 1:
        raise InvalidRequest(
            f"The items of {field!r} must be of one kind.", param=field, code="invalid_type"
        )


def check_chat_body(body: JsonObject) -> None:
    """Raise InvalidRequest where a chat body breaks a rule that its types cannot express."""
    refuse_long_list(body, "messages", settings.MESSAGES_LIMIT)
    refuse_long_list(body, "tools", settings.TOOLS_LIMIT)
    refuse_long_list(body, "functions", settings.TOOLS_LIMIT)
    for position, message in enumerate(body["messages"]):
        check_message(message, f"messages[{position}]")
    check_chat_tool_choice(body.get("tool_choice"), body.get("tools") or [])
    check_dependent_fields(body)


def check_message(message: JsonObject, path: str) -> None:
    """Raise InvalidRequest unless a message has what its role and its parts need."""
    role = message["role"]
    content = message.get("content")
    needs_content = role in ROLES_WITH_CONTENT or not message.keys() & CONTENT_SUBSTITUTES
    if content is None and needs_content:
        raise missing_parameter_error(
            f"{path}.content", f"A message of the role {role!r} needs content."
        )
    if role == "tool" and not message.get("tool_call_id"):
        raise missing_parameter_error(
            f"{path}.tool_call_id", "A tool's message names the call it answers."
        )
    if isinstance(content, list):
        for position, part in enumerate(content):
            check_content_part(part, f"{path}.content[{position}]")


def check_content_part(part: JsonObject, path: str) -> None:
    """Raise InvalidRequest unless a content part has the field that its type names."""
    field = part["type"]
    is_at_url = field == "file" and part.get("file_url") is not None
    if field in PART_TYPES and part.get(field) is None and not is_at_url:
        raise missing_parameter_error(f"{path}.{field}")
    if field == "image_url":
        image = part["image_url"]
        if isinstance(image, dict) and not isinstance(image.get("url"), str):
            raise missing_parameter_error(f"{path}.image_url.url")


def check_chat_tool_choice(choice: str | JsonObject | None, tools: list[JsonObject]) -> None:
    """Raise InvalidRequest unless the choice is a known mode or one of the tools."""
    if choice not in (None, "none", "auto") and not tools:
        raise InvalidRequest(
            "tool_choice is only allowed when tools are given.", param="tool_choice"
        )
    if isinstance(choice, str) and choice not in CHOICE_MODES:
        raise InvalidRequest(
            "tool_choice is none, auto, required, or names a function.", param="tool_choice"
        )
    if isinstance(choice, dict):
        name = read_function_name(choice)
        if name and name not in map(read_function_name, tools):
            raise InvalidRequest(
                f"tool_choice names {name!r}, which is not among the tools.", param="tool_choice"
            )


def read_function_name(tool: JsonObject) -> str | None:
    """Return the name of the function or custom tool that a tool or a tool choice has."""
    function: JsonObject = tool.get("function") or tool.get("custom") or {}
    return function.get("name")


def check_dependent_fields(body: JsonObject) -> None:
    """Raise InvalidRequest when a field is given without another one that it needs."""
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise InvalidRequest("top_logprobs needs logprobs to be true.", param="top_logprobs")
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema" and not response_format.get("json_schema"):
        raise missing_parameter_error("response_format.json_schema")
    if body.get("stream_options") and not body.get("stream"):
        raise InvalidRequest(
            "stream_options is only allowed when stream is true.", param="stream_options"
        )
