"""The bodies, metadata and items that callers send to the conversation endpoints.

Items of OpenAI's Responses API are checked by their type. Unknown fields are kept. Items of tools
that only the client or another upstream knows are kept unchanged. An error names the field in
`param`. Source: OpenAI's API reference, "Conversations" and "Responses".
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct
from rest_framework.request import Request

from api.schemas.json_body import (
    Maybe,
    invalid_value_error,
    missing_parameter_error,
    parse_json_body,
)
from conversations.messages.items import COMPACTION_TYPES
from conversations.messages.opaque_text import decode_opaque_text, is_own_opaque_text
from providers.exceptions import InvalidRequest, UnsupportedMediaType
from providers.protocol.json_types import JsonObject

MOST_METADATA_PAIRS = 16
METADATA_KEY_CHARS = 64
METADATA_VALUE_CHARS = 512  # of one value of metadata
MOST_ITEMS = 20  # most items in one request
Text = Annotated[str, Meta(min_length=1)]


class Part(Struct):
    type: Text
    text: str | Maybe = UNSET
    refusal: str | Maybe = UNSET
    image_url: str | Maybe = UNSET
    file_id: str | Maybe = UNSET
    file_data: str | Maybe = UNSET
    file_url: str | Maybe = UNSET
    filename: str | Maybe = UNSET
    detail: str | Maybe = UNSET
    input_audio: JsonObject | Maybe = UNSET


class Message(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]


class FunctionCall(Struct):
    """A call; its id may have any length, because some upstreams put the thinking into it."""

    call_id: Text
    name: Text
    arguments: str
    namespace: str | Maybe = UNSET


class CustomToolCall(Struct):
    call_id: Text
    name: Text
    input: str
    namespace: str | Maybe = UNSET


class CallOutput(Struct):
    call_id: Text
    output: str | list[Part]


class ToolItem(Struct):
    """An item that brings tools for the rest of the conversation."""

    tools: list[JsonObject]


class Reasoning(Struct):
    summary: list[Part] | Maybe = UNSET
    content: list[Part] | Maybe = UNSET
    encrypted_content: str | Maybe = UNSET


class Compaction(Struct):
    encrypted_content: str | Maybe = UNSET


class UncheckedItem(Struct):
    """An item that is kept unchanged."""


ITEM_SHAPES: dict[str, type[Struct]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": CallOutput,
    "custom_tool_call": CustomToolCall,
    "custom_tool_call_output": CallOutput,
    "additional_tools": ToolItem,
    "tool_search_output": ToolItem,
    "reasoning": Reasoning,
    **dict.fromkeys(COMPACTION_TYPES, Compaction),
    **dict.fromkeys(
        """
        file_search_call computer_call computer_call_output web_search_call tool_search_call
        configuration_update compaction_trigger agent_message image_generation_call
        code_interpreter_call local_shell_call local_shell_call_output
        shell_call shell_call_output apply_patch_call apply_patch_call_output
        mcp_list_tools mcp_approval_request mcp_approval_response mcp_call
        program program_output
        """.split(),
        UncheckedItem,
    ),
}
PartKinds = dict[str, tuple[str, ...]]  # kind of part -> fields, one of which it needs
INPUT_PARTS: PartKinds = {
    "input_text": ("text",),
    "input_image": ("image_url", "file_id"),
    "input_file": ("file_id", "file_data", "file_url"),
    "input_audio": ("input_audio",),
}
OUTPUT_PARTS: PartKinds = {"output_text": ("text",), "refusal": ("refusal",)}
SUMMARY_PARTS: PartKinds = {"summary_text": ("text",)}
REASONING_PARTS: PartKinds = {"reasoning_text": ("text",)}


def read_drf_body(request: Request, shape: type[Struct]) -> JsonObject:
    """Return the validated JSON body; an empty body is {}.

    Raises UnsupportedMediaType, InvalidJson or InvalidRequest, with `param` when one field is at
    fault.
    """
    if (request.content_type or "").partition(";")[0].strip() not in ("application/json", ""):
        raise UnsupportedMediaType("Send the body as application/json.")
    return parse_json_body(request.body or b"{}", shape)


def validate_metadata(value: JsonObject | None) -> dict[str, str]:
    """Return the metadata: at most 16 pairs of texts.

    Raises InvalidRequest.
    """
    metadata = value or {}
    if len(metadata) > MOST_METADATA_PAIRS:
        raise InvalidRequest(
            f"metadata has at most {MOST_METADATA_PAIRS} pairs, not {len(metadata)}.",
            param="metadata",
        )
    for name, text in metadata.items():
        if not 1 <= len(name) <= METADATA_KEY_CHARS:
            raise InvalidRequest(
                f"A key of metadata has 1 to {METADATA_KEY_CHARS} characters.", param="metadata"
            )
        path = f"metadata.{name}"
        if not isinstance(text, str):
            raise InvalidRequest("A value of metadata is a text.", param=path, code="invalid_type")
        if len(text) > METADATA_VALUE_CHARS:
            raise InvalidRequest(
                f"A value of metadata has at most {METADATA_VALUE_CHARS} characters.", param=path
            )
    return metadata


def check_items(items: list[Any], field_path: str = "items") -> None:
    """Raise InvalidRequest unless these are items that a caller may put into a conversation."""
    if len(items) > MOST_ITEMS:
        raise InvalidRequest(
            f"At most {MOST_ITEMS} items are accepted at a time, not {len(items)}.",
            param=field_path,
        )
    for position, item in enumerate(items):
        check_item(item, f"{field_path}[{position}]")


def check_item(item: object, field_path: str) -> None:
    """Raise InvalidRequest unless this is an item; `field_path` is its place in the body."""
    if not isinstance(item, dict):
        raise InvalidRequest("An item is an object.", param=field_path, code="invalid_type")
    shape = find_item_shape(item, field_path)
    try:
        msgspec.convert(item, shape)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), field_path)) from None
    if shape is Message:
        kinds = OUTPUT_PARTS if item["role"] == "assistant" else INPUT_PARTS
        check_item_parts(item["content"], f"{field_path}.content", kinds)
    elif shape is CallOutput:
        check_item_parts(item["output"], f"{field_path}.output", INPUT_PARTS)
    elif shape is Reasoning:
        check_item_parts(item.get("summary"), f"{field_path}.summary", SUMMARY_PARTS)
        check_item_parts(item.get("content"), f"{field_path}.content", REASONING_PARTS)
    elif shape is Compaction:
        check_compaction(item, field_path)


def check_compaction(item: JsonObject, field_path: str) -> None:
    """Raise InvalidRequest when a compaction has our mark and cannot be read.

    It stands for a whole conversation, so it is not passed over.
    """
    content = item.get("encrypted_content")
    if is_own_opaque_text(content) and not decode_opaque_text(content):
        raise InvalidRequest(
            "This compaction was changed on its way and cannot be read.",
            param=f"{field_path}.encrypted_content",
        )


def find_item_shape(item: JsonObject, field_path: str) -> type[Struct]:
    """Return the shape for an item's type; an item with a role may leave its type out.

    Raises InvalidRequest.
    """
    item_type = item.get("type", "message" if "role" in item else None)
    if item_type is None:
        raise missing_parameter_error(f"{field_path}.type")
    if not isinstance(item_type, str) or item_type not in ITEM_SHAPES:
        raise InvalidRequest(
            f"Items of the type {str(item_type)[:64]!r} are not accepted.",
            param=f"{field_path}.type",
        )
    return ITEM_SHAPES[item_type]


def prefix_error_path(message: str, field_path: str) -> str:
    """Return msgspec's message about an item with the path from the body to the item in it."""
    text, _, path = message.partition(" - at `$")
    return f"{text} - at `$.{field_path}{path or '`'}"


def check_item_parts(parts: object, field_path: str, kinds: PartKinds) -> None:
    """Raise InvalidRequest unless each part is of one of these kinds and complete."""
    if not isinstance(parts, list):
        return
    for position, part in enumerate(parts):
        path = f"{field_path}[{position}]"
        needed_fields = kinds.get(part["type"])
        if needed_fields is None:
            raise InvalidRequest(
                f"{part['type'][:64]!r} is not accepted here; one of {', '.join(kinds)} is.",
                param=f"{path}.type",
            )
        if all(part.get(field) is None for field in needed_fields):
            raise missing_parameter_error(f"{path}.{needed_fields[0]}")


def validate_include_values(values: Iterable[str], allowed_values: Iterable[str]) -> frozenset[str]:
    """Return the values of `include`.

    Raises InvalidRequest when one of them is not known.
    """
    requested = frozenset(values)
    unknown = sorted(requested.difference(allowed_values))
    if unknown:
        raise InvalidRequest(f"{unknown[0][:64]!r} cannot be included.", param="include")
    return requested
