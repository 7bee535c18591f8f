"""Request bodies: bytes -> a validated dict that keeps every field the caller sent.

Documented fields are checked against OpenAI's reference (types, ranges, enums) with msgspec; fields it does not know
are kept and passed on to upstreams; those that would choose a URL, header or credential are refused. An error names
the field in `param`. Source: OpenAI's API reference for chat completions, completions and embeddings.
"""

import json
from typing import Annotated, Any, Literal

import msgspec
import orjson
from django.conf import settings
from msgspec import UNSET, Meta, Struct, UnsetType

from providers.chat import CHAT, COMPLETIONS, EMBEDDINGS
from providers.exceptions import InvalidJson, InvalidRequest
from providers.wire.jsons import DEEPEST, deeper_than

# fields that would let a caller choose where a request goes or who it says it is
ROUTING = frozenset(
    """
    api_base base_url api_key api_version api_type extra_headers extra_body extra_query headers custom_host
    custom_llm_provider organization proxy aws_region_name vertex_credentials
    """.split()
)
OWN = ("conversation_id", "session_id", "store", "reasoning_format", "mpr_candidates")  # ours, never sent on
REMEMBERED = frozenset(("conversation_id", "session_id", "store"))  # what may make a request part of the log
JSON_DEPTH: int = min(settings.JSON_DEPTH, DEEPEST)
TOO_BIG = 2.0**63
NUL = b"\\u0000"

Name = Annotated[str, Meta(min_length=1, max_length=200)]
FunctionName = Annotated[str, Meta(min_length=1, max_length=256)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Tokens = Annotated[int, Meta(ge=1, le=100_000_000)]
Maybe = UnsetType | None


class Part(Struct):
    type: Annotated[str, Meta(min_length=1)]
    text: str | Maybe = UNSET
    image_url: dict[str, Any] | str | Maybe = UNSET
    input_audio: dict[str, Any] | Maybe = UNSET
    file: dict[str, Any] | Maybe = UNSET


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
    refusal: str | Maybe = UNSET
    reasoning_content: str | Maybe = UNSET
    reasoning: Any = UNSET


class Function(Struct):
    name: FunctionName
    description: str | Maybe = UNSET
    parameters: dict[str, Any] | Maybe = UNSET
    strict: bool | Maybe = UNSET


class Tool(Struct):
    type: Annotated[str, Meta(min_length=1)]
    function: Function | Maybe = UNSET


class JsonSchema(Struct):
    name: FunctionName
    schema: dict[str, Any] | Maybe = UNSET
    description: str | Maybe = UNSET
    strict: bool | Maybe = UNSET


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    json_schema: JsonSchema | Maybe = UNSET


class StreamOptions(Struct):
    include_usage: bool | Maybe = UNSET
    include_obfuscation: bool | Maybe = UNSET


class Sampling(Struct):
    """What chat completions and legacy completions have in common."""

    model: Name
    frequency_penalty: Penalty | Maybe = UNSET
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | Maybe = UNSET
    max_tokens: Tokens | Maybe = UNSET
    n: Annotated[int, Meta(ge=1, le=128)] | Maybe = UNSET
    presence_penalty: Penalty | Maybe = UNSET
    seed: int | Maybe = UNSET
    stop: str | Annotated[list[str], Meta(max_length=16)] | Maybe = UNSET  # OpenAI takes 4, DeepSeek 16
    stream: bool | Maybe = UNSET
    stream_options: StreamOptions | Maybe = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | Maybe = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | Maybe = UNSET
    user: str | Maybe = UNSET


class ChatBody(Sampling, kw_only=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    audio: dict[str, Any] | Maybe = UNSET
    function_call: str | dict[str, Any] | Maybe = UNSET
    functions: Annotated[list[Function], Meta(max_length=128)] | Maybe = UNSET
    logprobs: bool | Maybe = UNSET
    max_completion_tokens: Tokens | Maybe = UNSET
    metadata: dict[str, str] | Maybe = UNSET
    modalities: list[str] | Maybe = UNSET
    parallel_tool_calls: bool | Maybe = UNSET
    prediction: dict[str, Any] | Maybe = UNSET
    prompt_cache_key: str | Maybe = UNSET
    reasoning_effort: str | Maybe = UNSET
    reasoning_format: Literal["parsed", "raw", "hidden"] | Maybe = UNSET
    response_format: ResponseFormat | Maybe = UNSET
    safety_identifier: str | Maybe = UNSET
    service_tier: str | Maybe = UNSET
    store: bool | Maybe = UNSET
    tool_choice: str | dict[str, Any] | Maybe = UNSET
    tools: list[Tool] | Maybe = UNSET
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | Maybe = UNSET
    verbosity: str | Maybe = UNSET
    web_search_options: dict[str, Any] | Maybe = UNSET
    conversation_id: str | Maybe = UNSET
    session_id: str | Maybe = UNSET
    mpr_candidates: Annotated[int, Meta(ge=1, le=8)] | Maybe = UNSET


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
        | Annotated[list[Annotated[str, Meta(min_length=1)] | int | list[int]], Meta(min_length=1, max_length=2048)]
    )
    dimensions: Annotated[int, Meta(ge=1, le=65_536)] | Maybe = UNSET
    encoding_format: Literal["float", "base64"] | Maybe = UNSET
    user: str | Maybe = UNSET


BODIES: dict[str, type[Struct]] = {CHAT: ChatBody, COMPLETIONS: CompletionBody, EMBEDDINGS: EmbeddingBody}


def read(endpoint: str, raw: bytes) -> dict[str, Any]:
    """The validated body. Raises InvalidJson or InvalidRequest, with `param` where one field is at fault."""
    body = well_formed(raw, BODIES[endpoint])
    if endpoint == CHAT:
        check_chat(body)
    else:
        check_items(body, "prompt" if endpoint == COMPLETIONS else "input")
    return body


def well_formed(raw: bytes, shape: type[Struct]) -> dict[str, Any]:
    """The body of this shape, without fields that choose where it goes. Raises as `read` does."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise InvalidJson("The body must be a JSON object.")
    if raw.count(b"[") + raw.count(b"{") > JSON_DEPTH and deeper_than(body, JSON_DEPTH):
        raise InvalidJson(f"The body is nested deeper than {JSON_DEPTH} levels.")
    if NUL in raw:
        refuse_nul(body, "")
    try:
        msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    refuse_lossy(body, raw)
    if not ROUTING.isdisjoint(body):
        field = min(ROUTING & body.keys())
        raise InvalidRequest(f"The field {field!r} is not accepted here.", param=field, code="unknown_parameter")
    return body


def missing(param: str, message: str = "") -> InvalidRequest:
    message = message or f"Missing required parameter: {param!r}."
    return InvalidRequest(message, param=param, code="missing_required_parameter")


def check_items(body: dict[str, Any], field: str) -> None:
    """A list of prompts or inputs is all texts, all token numbers, or all lists of them."""
    items = body[field]
    if isinstance(items, list) and len({type(item) for item in items}) > 1:
        raise InvalidRequest(f"The items of {field!r} must be of one kind.", param=field, code="invalid_type")


def invalid(message: str) -> InvalidRequest:
    """msgspec's message (`Expected … - at `$.messages[0].role``) as an error with `param`."""
    text, _, path = message.partition(" - at `")
    param = path.rstrip("`").removeprefix("$").lstrip(".").replace("[...]", "") or None
    if text.startswith("Object missing required field"):
        name = text.split("`")[1]
        param = f"{param}.{name}" if param else name
        return missing(param)
    where = f" for {param!r}" if param else ""
    kind = "invalid_type" if text.startswith("Expected `") and " got " in text else "invalid_value"
    return InvalidRequest(f"Invalid value{where}: {text[0].lower()}{text[1:]}.", param=param, code=kind)


def check_chat(body: dict[str, Any]) -> None:
    """What the types alone cannot say about a chat body."""
    for position, message in enumerate(body["messages"]):
        role, content = message["role"], message.get("content")
        if content is None and (role in ("system", "developer", "user", "tool") or not message.keys() & SPEAKS):
            raise missing(f"messages[{position}].content", f"A message of the role {role!r} needs content.")
        if role == "tool" and not message.get("tool_call_id"):
            raise missing(f"messages[{position}].tool_call_id", "A tool's message names the call it answers.")
        if isinstance(content, list):
            check_parts(content, f"messages[{position}].content")
    choice, tools = body.get("tool_choice"), body.get("tools") or ()
    if choice not in (None, "none", "auto") and not tools:
        raise InvalidRequest("tool_choice is only allowed when tools are given.", param="tool_choice")
    named = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    if named and all((tool.get("function") or {}).get("name") != named for tool in tools):
        raise InvalidRequest(f"tool_choice names {named!r}, which is not among the tools.", param="tool_choice")
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise InvalidRequest("tool_choice is none, auto, required, or names a function.", param="tool_choice")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise InvalidRequest("top_logprobs needs logprobs to be true.", param="top_logprobs")
    format_ = body.get("response_format")
    if format_ and format_["type"] == "json_schema" and not format_.get("json_schema"):
        raise missing("response_format.json_schema")
    if body.get("stream_options") and not body.get("stream"):
        raise InvalidRequest("stream_options is only allowed when stream is true.", param="stream_options")


SPEAKS = frozenset(("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning"))
PART_FIELDS = {"text": "text", "image_url": "image_url", "input_audio": "input_audio", "file": "file"}


def check_parts(parts: list[dict[str, Any]], path: str) -> None:
    for position, part in enumerate(parts):
        field = PART_FIELDS.get(part["type"])
        if field is not None and part.get(field) is None:
            raise missing(f"{path}[{position}].{field}")
        image = part.get("image_url") if field == "image_url" else None
        if isinstance(image, dict) and not isinstance(image.get("url"), str):
            raise missing(f"{path}[{position}].image_url.url")


def refuse_lossy(body: dict[str, Any], raw: bytes) -> None:
    """Raise InvalidJson where reading lost something: a name given twice, an integer that only fits a float.

    Names are compared by number: those in the tree, and the `":` in the text that no string contains; where the two
    differ, or where a blank or a backslash makes that uncertain, the text is read again.
    """
    names, left = 0, [body]
    while left:
        value: Any = left.pop()
        if type(value) is dict:
            names += len(value)
            left.extend(value.values())
        elif type(value) is list:
            left.extend(value)
        elif type(value) is float and not -TOO_BIG < value < TOO_BIG:
            raise InvalidJson("The body has a number beyond 64 bits.")
    if names != raw.count(b'":') - raw.count(b'\\":') or b'" :' in raw or b'\\\\":' in raw:
        json.loads(raw, object_pairs_hook=refuse_twice)


def refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidJson("The body has an object with a name given twice.")


def refuse_nul(value: Any, path: str) -> None:
    """Raise InvalidRequest when a text in `value` has a NUL: no database and few upstreams can take it."""
    if isinstance(value, str) and "\0" in value:
        raise InvalidRequest("A text has a NUL character.", param=path.lstrip(".") or None)
    if isinstance(value, dict):
        for name, item in value.items():
            refuse_nul(name, path)
            refuse_nul(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_nul(item, f"{path}[{index}]")
