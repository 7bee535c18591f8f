"""The bodies of /tokenize and /detokenize. Source: vLLM's documentation, "Tokenizer API"."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct

from api.schemas.body_shapes import Message, Name, Tool
from api.schemas.chat_request_body import check_message
from api.schemas.json_body import Maybe, missing_parameter_error, parse_json_body, refuse_long_list
from providers.exceptions import InvalidRequest
from providers.fast_settings import settings
from providers.protocol.json_types import JsonObject


class TokenizeBody(Struct):
    """A text or a chat; a field that is missing has the default of vLLM."""

    model: Name
    prompt: str | Maybe = UNSET
    messages: Annotated[list[Message], Meta(min_length=1)] | Maybe = UNSET
    tools: list[Tool] | Maybe = UNSET
    add_generation_prompt: bool | Maybe = UNSET
    continue_final_message: bool | Maybe = UNSET
    add_special_tokens: bool | Maybe = UNSET
    return_token_strs: bool | Maybe = UNSET
    chat_template_kwargs: JsonObject | Maybe = UNSET


class DetokenizeBody(Struct):
    model: Name
    tokens: list[Annotated[int, Meta(ge=0, lt=2**31)]]


def read_tokenize_body(raw: bytes) -> JsonObject:
    """Return the validated body, without null fields. Raises InvalidJson, InvalidRequest."""
    body = drop_null_fields(parse_json_body(raw, TokenizeBody))
    if "prompt" not in body and "messages" not in body:
        raise missing_parameter_error("prompt", "Give a prompt or messages.")
    if "prompt" in body and "messages" in body:
        raise InvalidRequest("Give a prompt or messages, not both.", param="prompt")
    refuse_unknown_fields(body, TokenizeBody)
    refuse_long_list(body, "messages", settings.MESSAGES_LIMIT)
    refuse_long_list(body, "tools", settings.TOOLS_LIMIT)
    for position, message in enumerate(body.get("messages") or ()):
        check_message(message, f"messages[{position}]")
    return body


def read_detokenize_body(raw: bytes) -> JsonObject:
    """Return the validated body. Raises InvalidJson, InvalidRequest."""
    body = drop_null_fields(parse_json_body(raw, DetokenizeBody))
    refuse_unknown_fields(body, DetokenizeBody)
    refuse_long_list(body, "tokens", settings.COUNT_EXACT_CHARS)
    return body


def drop_null_fields(body: JsonObject) -> JsonObject:
    """Return a body without its null fields."""
    return {name: value for name, value in body.items() if value is not None}


def refuse_unknown_fields(body: JsonObject, shape: Any) -> None:
    """Raise InvalidRequest for a field that no server would be sent."""
    unknown = sorted(body.keys() - set(shape.__struct_fields__))
    if unknown:
        raise InvalidRequest(
            f"The field {unknown[0]!r} is not known here.",
            param=unknown[0],
            code="unknown_parameter",
        )
