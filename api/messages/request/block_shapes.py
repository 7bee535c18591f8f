"""The shapes of content blocks and tools of a Messages body.

Source: Anthropic's API reference, "Create a Message".
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from api.schemas.body_shapes import FunctionName
from api.schemas.item_inputs import prefix_error_path
from api.schemas.json_body import Maybe, invalid_value_error, missing_parameter_error
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

Id = Annotated[str, Meta(min_length=1, max_length=1_024)]
# a file by an id of the upstream's account, which is the operator's and not the caller's
CONTAINER_UPLOAD = "container_upload"
LISTED_TYPES = 12  # in the message about an unknown type


class TextShape(Struct):
    text: str


class ImageSource(Struct):
    type: Literal["base64", "url", "file"]
    media_type: str | Maybe = UNSET
    data: str | Maybe = UNSET
    url: str | Maybe = UNSET
    file_id: str | Maybe = UNSET


class ImageShape(Struct):
    source: ImageSource


class DocumentSource(ImageSource):
    type: Literal["base64", "text", "url", "content", "file"]  # type: ignore[assignment]
    content: str | list[JsonObject] | Maybe = UNSET


class DocumentShape(Struct):
    source: DocumentSource
    title: str | Maybe = UNSET
    context: str | Maybe = UNSET


class SearchResultShape(Struct):
    source: str
    title: str
    content: list[JsonObject]


class ToolUseShape(Struct):
    id: Id
    name: FunctionName
    input: JsonObject


class ToolResultShape(Struct):
    tool_use_id: Id
    content: str | list[JsonObject] | Maybe = UNSET
    is_error: bool | Maybe = UNSET


class ThinkingBlockShape(Struct):
    thinking: str
    signature: str | Maybe = UNSET


class RedactedShape(Struct):
    data: str


class ServerBlock(Struct):
    """A block about a tool that runs at Anthropic's; its fields are not looked at."""


class ClientToolShape(Struct):
    name: FunctionName
    input_schema: JsonObject
    description: str | Maybe = UNSET
    strict: bool | Maybe = UNSET
    cache_control: JsonObject | Maybe = UNSET


class NamedToolShape(Struct):
    """A tool whose input Anthropic has defined, or one that runs there."""

    name: FunctionName
    user_location: JsonObject | Maybe = UNSET
    allowed_domains: list[str] | Maybe = UNSET
    blocked_domains: list[str] | Maybe = UNSET


SOURCE_FIELDS = {  # type of a source -> its field
    "base64": "data",
    "text": "data",
    "url": "url",
    "file": "file_id",
    "content": "content",
}
SHOWN_SHAPES: dict[str, type[Struct]] = {
    "text": TextShape,
    "image": ImageShape,
    "document": DocumentShape,
    "search_result": SearchResultShape,
}
RESULT_SHAPES = SHOWN_SHAPES | {"tool_reference": ServerBlock}
SERVER_BLOCK_TYPES = tuple(
    """
    server_tool_use web_search_tool_result web_fetch_tool_result code_execution_tool_result
    bash_code_execution_tool_result text_editor_code_execution_tool_result tool_search_tool_result
    advisor_tool_result mcp_tool_use mcp_tool_result compaction fallback
    """.split()
)
SHAPES_BY_ROLE: dict[str, dict[str, type[Struct]]] = {
    "system": {"text": TextShape},
    "user": SHOWN_SHAPES
    | {"tool_result": ToolResultShape}
    | dict.fromkeys(SERVER_BLOCK_TYPES, ServerBlock),
    "assistant": {
        "text": TextShape,
        "search_result": SearchResultShape,
        "tool_use": ToolUseShape,
        "thinking": ThinkingBlockShape,
        "redacted_thinking": RedactedShape,
        **dict.fromkeys(SERVER_BLOCK_TYPES, ServerBlock),
    },
    "tool_result": RESULT_SHAPES,
}


def check_blocks(blocks: Sequence[JsonObject], path: str, role: str) -> None:
    """Raise InvalidRequest unless all blocks are such as may stand there.

    `role` is that of the message, or `tool_result` for the blocks in a result.
    """
    shapes = SHAPES_BY_ROLE[role]
    for position, block in enumerate(blocks):
        place = f"{path}[{position}]"
        kind = block.get("type")
        if kind is None:
            raise missing_parameter_error(f"{place}.type")
        shape = shapes.get(kind) if isinstance(kind, str) else None
        if shape is None:
            raise refuse_type(kind, shapes, place)
        check_shape(block, shape, place)
        if kind in ("image", "document"):
            check_source(block["source"], f"{place}.source")
        elif kind == "tool_result" and isinstance(block.get("content"), list):
            check_blocks(block["content"], f"{place}.content", "tool_result")


def refuse_type(kind: object, shapes: dict[str, type[Struct]], place: str) -> InvalidRequest:
    """Return the error for a block of a type that may not stand there."""
    if kind == CONTAINER_UPLOAD:
        message = "Files of the upstream's own account are not given to callers."
        return InvalidRequest(message, param=place, code="unsupported_parameter")
    expected = ", ".join(map(repr, list(shapes)[:LISTED_TYPES]))
    message = f"The type {str(kind)[:64]!r} is not one of those expected here: {expected}."
    return InvalidRequest(message, param=f"{place}.type")


def check_source(source: JsonObject, path: str) -> None:
    """Raise InvalidRequest unless a source has the fields that its type needs."""
    field = SOURCE_FIELDS[source["type"]]
    if source.get(field) in (None, ""):
        raise missing_parameter_error(f"{path}.{field}")
    if source["type"] == "base64" and not source.get("media_type"):
        raise missing_parameter_error(f"{path}.media_type")
    if field == "content" and isinstance(source["content"], list):
        check_blocks(source["content"], f"{path}.content", "tool_result")


def check_shape(fields: Any, shape: type[Struct], path: str) -> None:
    """Raise InvalidRequest unless the fields have the types of this shape."""
    try:
        msgspec.convert(fields, shape)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), path)) from None


def find_tool_shape(kind: str) -> type[Struct]:
    """Return the shape of a tool of this type."""
    return ClientToolShape if kind == "custom" else NamedToolShape
