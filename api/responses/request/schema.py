"""The body of /v1/responses, as a validated dict that keeps every field the caller sent.

Fields that OpenAI names differently here, or that no chat upstream can serve, are refused with
their name in `param`. `to_chat.py` says which others go to the upstream. Source: OpenAI's API
reference, "Create a response".
"""

from typing import Annotated, Literal

from django.conf import settings
from msgspec import UNSET, Meta, Struct

from api.responses.request import input_items, tool_choice
from api.schemas.body_shapes import Name, Penalty, StreamOptions, Tokens
from api.schemas.item_inputs import check_item, validate_metadata
from api.schemas.json_body import Maybe, missing_parameter_error, parse_json_body, refuse_long_list
from conversations.strategies.multipath.multipath_options import CandidateCount
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

RENAMED_FIELDS = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
    "functions": "tools",
    "function_call": "tool_choice",
    "web_search_options": "tools",
}
# Fields that no chat completion can serve.
UNSUPPORTED_FIELDS = ("prompt", "audio", "modalities")
INPUT_SOURCE_FIELDS = ("input", "instructions", "previous_response_id", "conversation")

IncludeValue = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]


SummaryKind = Literal["auto", "concise", "detailed", "none"]


class ReasoningOptions(Struct):
    effort: str | Maybe = UNSET
    summary: SummaryKind | Maybe = UNSET
    generate_summary: SummaryKind | Maybe = UNSET  # its older name


class TextFormat(Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | Maybe = UNSET
    schema: JsonObject | Maybe = UNSET
    description: str | Maybe = UNSET
    strict: bool | Maybe = UNSET


class TextOptions(Struct):
    format: TextFormat | Maybe = UNSET
    verbosity: str | Maybe = UNSET


class ContextManagement(Struct):
    """When the conversation is compacted within a request: beyond so many tokens of input."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, Meta(ge=1)] | Maybe = UNSET


class ResponseBody(Struct, kw_only=True):
    model: Name
    background: bool | Maybe = UNSET
    context_management: list[ContextManagement] | Maybe = UNSET
    conversation: str | JsonObject | Maybe = UNSET
    frequency_penalty: Penalty | Maybe = UNSET
    include: list[IncludeValue] | Maybe = UNSET
    input: str | list[JsonObject] | Maybe = UNSET
    instructions: str | list[JsonObject] | Maybe = UNSET
    max_output_tokens: Tokens | Maybe = UNSET
    max_tool_calls: Annotated[int, Meta(ge=1)] | Maybe = UNSET
    metadata: JsonObject | Maybe = UNSET
    n: Literal[1] | Maybe = UNSET
    parallel_tool_calls: bool | Maybe = UNSET
    presence_penalty: Penalty | Maybe = UNSET
    previous_response_id: Name | Maybe = UNSET
    prompt_cache_key: str | Maybe = UNSET
    reasoning: ReasoningOptions | Maybe = UNSET
    safety_identifier: str | Maybe = UNSET
    service_tier: str | Maybe = UNSET
    store: bool | Maybe = UNSET
    stream: bool | Maybe = UNSET
    stream_options: StreamOptions | Maybe = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | Maybe = UNSET
    text: TextOptions | Maybe = UNSET
    tool_choice: str | JsonObject | Maybe = UNSET
    tools: list[JsonObject] | Maybe = UNSET
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | Maybe = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | Maybe = UNSET
    truncation: Literal["auto", "disabled"] | Maybe = UNSET
    user: str | Maybe = UNSET
    reasoning_format: Literal["parsed", "raw", "hidden"] | Maybe = UNSET
    mpr_candidates: CandidateCount | Maybe = UNSET
    long_prompts: Literal["fit", "refuse"] | Maybe = UNSET


class TokenCountBody(ResponseBody, kw_only=True):
    """The body of a request that is only counted."""

    model: Name | Maybe = UNSET  # type: ignore[assignment]


def read_response_body(raw: bytes, shape: type[ResponseBody] = ResponseBody) -> JsonObject:
    """Return the validated body.

    Raises InvalidJson or InvalidRequest, with `param` when one field is at fault.
    """
    body = parse_json_body(raw, shape)
    check_response_fields(body)
    return body


def check_response_fields(body: JsonObject) -> None:
    """Raise InvalidRequest where a body breaks a rule that its types cannot express."""
    refuse_long_list(body, "input", settings.MESSAGES_LIMIT)
    refuse_long_list(body, "tools", settings.TOOLS_LIMIT)
    refuse_unsupported_fields(body)
    check_state_fields(body)
    validate_metadata(body.get("metadata"))
    check_text_format(body)
    if isinstance(body.get("input"), list):
        input_items.check_input_items(body["input"])
    if isinstance(body.get("instructions"), list):
        for position, item in enumerate(body["instructions"]):
            check_item(item, f"instructions[{position}]")
    tool_choice.check_tools(body)


def find_conversation_id(body: JsonObject) -> str:
    """Return the conversation that the request is part of, or an empty string."""
    conversation = body.get("conversation") or ""
    if isinstance(conversation, dict):
        return conversation.get("id") or ""
    return str(conversation)


def check_text_format(body: JsonObject) -> None:
    """Raise InvalidRequest when the text format is a JSON schema without a name or a schema."""
    text_format = (body.get("text") or {}).get("format") or {}
    if text_format.get("type") != "json_schema":
        return
    for name in ("name", "schema"):
        if text_format.get(name) is None:
            raise missing_parameter_error(f"text.format.{name}")


def refuse_unsupported_fields(body: JsonObject) -> None:
    for name, new_name in RENAMED_FIELDS.items():
        if body.get(name) is not None:
            message = f"Unsupported parameter: {name!r}. In the Responses API it is {new_name!r}."
            raise InvalidRequest(message, param=name, code="unsupported_parameter")
    for name in UNSUPPORTED_FIELDS:
        if body.get(name) is not None:
            raise InvalidRequest(
                f"{name!r} is not supported here.", param=name, code="unsupported_parameter"
            )


def check_state_fields(body: JsonObject) -> None:
    """Raise InvalidRequest when fields about other responses, storing or streaming contradict."""
    conversation = body.get("conversation")
    if isinstance(conversation, dict) and not isinstance(conversation.get("id"), str):
        raise missing_parameter_error("conversation.id")
    if conversation is not None and not find_conversation_id(body):
        raise InvalidRequest("The id of a conversation cannot be empty.", param="conversation")
    if conversation is not None and body.get("previous_response_id") is not None:
        raise InvalidRequest(
            "A response is part of a conversation or follows another response, not both.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    if all(body.get(name) is None for name in INPUT_SOURCE_FIELDS):
        raise missing_parameter_error(
            "input",
            "One of input, instructions, previous_response_id and conversation must be given.",
        )
    if body.get("background") and body.get("store") is False:
        raise InvalidRequest("A response in the background has to be stored.", param="background")
    if body.get("stream_options") and not body.get("stream"):
        raise InvalidRequest(
            "stream_options is only allowed when stream is true.", param="stream_options"
        )
