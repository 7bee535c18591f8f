"""The JSON bodies of relayed endpoints, and the fields that the gateway itself reads.

Fields that no shape names are passed on to the upstream, which checks them. Sources: OpenAI's API
reference, "Images", "Audio" and "Moderations"; Cohere's, Jina's and vLLM's references for rerank.
"""

from typing import Annotated, Any, Literal

import orjson
from msgspec import UNSET, Meta, Struct

from api.schemas.body_shapes import Name
from api.schemas.json_body import Maybe, parse_json_body, refuse_long_list
from providers.exceptions import InvalidRequest
from providers.fast_settings import settings
from providers.protocol.json_types import JsonObject
from providers.protocol.relayed_request import (
    IMAGE_EDITS,
    IMAGE_GENERATIONS,
    MODERATIONS,
    RERANK,
    SPEECH,
)

MOST_IMAGES = 10  # of one request, as OpenAI allows
DEFAULT_MODERATION_MODEL = "omni-moderation-latest"  # OpenAI's, where a body names no model
Text = Annotated[str, Meta(min_length=1)]
ImageCount = Annotated[int, Meta(ge=1, le=MOST_IMAGES)]


class ImageBody(Struct):
    model: Name
    prompt: Text
    n: ImageCount | Maybe = UNSET
    stream: bool | Maybe = UNSET
    partial_images: Annotated[int, Meta(ge=0, le=3)] | Maybe = UNSET
    response_format: Literal["url", "b64_json"] | Maybe = UNSET
    size: str | Maybe = UNSET
    quality: str | Maybe = UNSET
    user: str | Maybe = UNSET


class ImageReference(Struct):
    file_id: str | Maybe = UNSET
    image_url: str | Maybe = UNSET


class ImageEditBody(ImageBody, kw_only=True):
    images: Annotated[list[ImageReference], Meta(min_length=1)]
    mask: ImageReference | Maybe = UNSET


class SpeechBody(Struct):
    model: Name
    input: Text
    voice: Text | JsonObject
    instructions: str | Maybe = UNSET
    response_format: str | Maybe = UNSET
    speed: Annotated[float, Meta(ge=0.25, le=4)] | Maybe = UNSET
    stream_format: Literal["audio", "sse"] | Maybe = UNSET


class ModerationBody(Struct):
    model: Name
    input: Text | Annotated[list[Text | JsonObject], Meta(min_length=1)]


class RerankBody(Struct):
    model: Name
    query: Text | JsonObject
    documents: Annotated[list[Any], Meta(min_length=1)]
    top_n: Annotated[int, Meta(ge=1)] | Maybe = UNSET
    return_documents: bool | Maybe = UNSET


SHAPES: dict[str, type[Struct]] = {
    IMAGE_GENERATIONS: ImageBody,
    IMAGE_EDITS: ImageEditBody,
    SPEECH: SpeechBody,
    MODERATIONS: ModerationBody,
    RERANK: RerankBody,
}


def read_relayed_body(endpoint: str, raw: bytes) -> JsonObject:
    """Return the validated body of a request to this endpoint. Raises InvalidJson, InvalidRequest.

    A moderation that names no model is one of OpenAI's latest.
    """
    body = parse_json_body(raw, SHAPES[endpoint])
    if endpoint == IMAGE_EDITS:
        refuse_file_ids(body)
    for field in ("documents", "input"):
        refuse_long_list(body, field, settings.INPUTS_LIMIT)
    return body


def refuse_file_ids(body: JsonObject) -> None:
    """Raise InvalidRequest for an image that is a file by its id.

    At the upstream it would be a file of the operator's account, which no caller may read.
    """
    named = [(f"images[{place}]", image) for place, image in enumerate(body["images"])]
    for place, image in (*named, ("mask", body.get("mask") or {})):
        if image.get("file_id"):
            raise InvalidRequest(
                "Images are not read by the id of a file here: send image_url, or a form.",
                param=f"{place}.file_id",
                code="unsupported_parameter",
            )


def add_default_model(endpoint: str, raw: bytes) -> bytes:
    """Return the body of a moderation with OpenAI's default model, where it names none."""
    if endpoint != MODERATIONS:
        return raw
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw  # `read_relayed_body` explains what is wrong
    if not isinstance(body, dict) or body.get("model") is not None:
        return raw
    return orjson.dumps({**body, "model": DEFAULT_MODERATION_MODEL})


def wants_stream(body: JsonObject) -> bool:
    """Return whether a body asks for the events of a stream."""
    return bool(body.get("stream")) or body.get("stream_format") == "sse"
