"""Chat bodies in the shape of a response's body: `input` in place of `messages`.

Some agents send what the Responses API takes to the endpoint of chat completions, and read the
answer as a chat completion. Fields of both kinds may stand side by side; those of a chat
completion count.
"""

import msgspec
from msgspec import Struct

from api.responses.request import encrypted_reasoning, input_items, schema, to_chat, tool_choice
from api.schemas import chat_request_body
from api.schemas.body_shapes import ChatBody
from api.schemas.chat_normalizer import normalize_chat_body
from api.schemas.json_body import invalid_value_error, parse_json_body
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT

# Fields that need the responses' own endpoint, because the answer would not be a chat completion
# or would not know what came before.
STATE_FIELDS = ("previous_response_id", "conversation", "background")
SHARED_FIELDS = frozenset(("model", "tools", "tool_choice", "parallel_tool_calls", "top_logprobs"))


class AnyBody(Struct):
    """A body that is checked later."""


def read_chat_body(raw: bytes) -> JsonObject:
    """Return the validated body of a chat completion, whichever shape it came in.

    Raises InvalidJson or InvalidRequest, with `param` when one field is at fault.
    """
    try:
        return chat_request_body.read_request_body(CHAT, raw)
    except InvalidRequest as error:
        if error.param != "messages" or b'"input"' not in raw:
            raise
        body = parse_json_body(raw, AnyBody)
        if body.get("messages") is not None or body.get("input") is None:
            raise
    return build_shaped_body(body)


def build_shaped_body(body: JsonObject) -> JsonObject:
    """Return the chat body of a body that has `input`, checked in both shapes."""
    chat_names = ChatBody.__struct_fields__
    chat_fields = {
        name: value
        for name, value in body.items()
        if name in chat_names and name not in SHARED_FIELDS
    }
    response_body = {name: value for name, value in body.items() if name not in chat_fields}
    if not body.get("store"):
        chat_fields.pop("metadata", None)  # a response has it always, a completion only when stored
    check_shaped_body(response_body)
    response_body = encrypted_reasoning.decode_input_reasoning(response_body)
    response_body = input_items.drop_hosted_outputs(response_body)
    tool_names = to_chat.read_tool_names(response_body, keeps_custom_calls=True)
    messages = to_chat.build_input_messages(response_body, tool_names)
    chat_body = to_chat.build_chat_body(response_body, messages, tool_names) | chat_fields
    check_types(chat_body, ChatBody)
    chat_body = normalize_chat_body(chat_body)
    chat_request_body.check_chat_body(chat_body)
    return chat_body


def check_shaped_body(body: JsonObject) -> None:
    """Raise InvalidRequest unless the part of the body that a response would have is valid."""
    check_types(body, schema.ResponseBody)
    for name in STATE_FIELDS:
        if body.get(name):
            message = f"{name!r} is a field of /v1/responses: send the request there."
            raise InvalidRequest(message, param=name, code="unsupported_parameter")
    schema.check_response_fields(body)
    tool_choice.check_choice(body)
    references = input_items.find_item_references(body)
    if references:
        message = "An item is referred to at /v1/responses only: send the item itself."
        raise InvalidRequest(message, param=min(references), code="unsupported_parameter")


def check_types(body: JsonObject, shape: type[Struct]) -> None:
    """Raise InvalidRequest unless the fields of the body have the types of this shape."""
    try:
        msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise invalid_value_error(str(error)) from None
