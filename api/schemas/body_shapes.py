"""The shapes of bodies of chat completions, completions and embeddings: types, ranges, enums.

Fields that no shape names are kept. Source: OpenAI's API reference.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct

from api.schemas.json_body import Maybe
from conversations.strategies.multipath.multipath_options import CandidateCount
from providers.protocol.json_types import JsonObject

Name = Annotated[str, Meta(min_length=1, max_length=200)]
FunctionName = Annotated[str, Meta(min_length=1, max_length=256)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenList = Annotated[list[int], Meta(min_length=1)]
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
    # none: with `echo` and `logprobs` the prompt alone is judged
    max_tokens: Annotated[int, Meta(ge=0, le=100_000_000)] | Maybe = UNSET
    logprobs: Annotated[int, Meta(ge=0, le=5)] | Maybe = UNSET
    suffix: str | Maybe = UNSET


class EmbeddingBody(Struct):
    model: Name
    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[Annotated[str, Meta(min_length=1)] | int | TokenList], Meta(min_length=1)]
    )
    dimensions: Annotated[int, Meta(ge=1, le=65_536)] | Maybe = UNSET
    encoding_format: Literal["float", "base64"] | Maybe = UNSET
    user: str | Maybe = UNSET
