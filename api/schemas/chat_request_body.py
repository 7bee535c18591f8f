"""The bodies of chat completions, completions and embeddings, as validated dicts.

Documented fields are checked against OpenAI's reference: their shapes with msgspec
(`body_shapes.py`), and here the rules that types cannot express. Unknown fields are kept and passed
on to upstreams. Fields that would choose a URL, header or credential are refused. An error names
the field in `param`. Source: OpenAI's API reference for chat completions, completions and
embeddings.
"""

from msgspec import Struct

from api.schemas.body_shapes import ChatBody, CompletionBody, EmbeddingBody
from api.schemas.chat_normalizer import normalize_chat_body
from api.schemas.json_body import missing_parameter_error, parse_json_body, refuse_long_list
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
    elif endpoint == COMPLETIONS:
        check_prompt_items(body, "prompt")
        check_best_of(body)
    else:
        check_prompt_items(body, "input")
    return body


def check_best_of(body: JsonObject) -> None:
    """Raise InvalidRequest unless the best answers are chosen of enough, and not streamed."""
    best_of = body.get("best_of")
    if best_of is None:
        return
    if best_of < (body.get("n") or 1):
        raise InvalidRequest("best_of cannot be less than n.", param="best_of")
    if body.get("stream") and best_of > (body.get("n") or 1):
        raise InvalidRequest("The best of several answers cannot be streamed.", param="best_of")


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
