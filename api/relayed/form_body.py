"""Receive and check the form of a relayed request: images to edit, recordings to transcribe."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from api.relay.lean_request import LeanRequest
from api.relayed.form_parts import MODEL_FIELD, rewrite_form
from api.relayed.relayed_bodies import MOST_IMAGES
from api.schemas.json_body import ROUTING_FIELDS, missing_parameter_error
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject
from providers.protocol.relayed_request import (
    AUDIO_ENDPOINTS,
    IMAGE_EDITS,
    IMAGE_ENDPOINTS,
    UploadedForm,
)

FORM_TYPE = "multipart/form-data"
AUDIO_FILE_FIELDS = ("file",)
IMAGE_FILE_FIELDS = ("image", "image[]")
# fields that the gateway or an upstream reads as texts
TEXT_FIELD_NAMES = ROUTING_FIELDS | {
    MODEL_FIELD,
    "n",
    "prompt",
    "response_format",
    "size",
    "stream",
}
LONGEST_NAME = 200
COUNT_DIGITS = 9  # most digits of a number of images
TRUE_TEXTS = ("true", "1", "True")
FALSE_TEXTS = ("false", "0", "False", "")


class ReceivedForm(NamedTuple):
    """The fields of a form without its files, and the form for the upstream."""

    body: JsonObject
    form: UploadedForm


async def receive_form(request: LeanRequest, endpoint: str, default_model: str) -> ReceivedForm:
    """Receive the form of a request. Its files are closed when the request ends.

    `default_model` is that of the API key, for forms that name none. Raises InvalidRequest,
    BodyTooLarge, Saturated, KeyLimitExceeded, RequestTimeout.
    """
    source = await request.receive_upload()
    content_type = request.META.get("CONTENT_TYPE", "")
    fields, file_fields, form = await asyncio.to_thread(rewrite_form, source, content_type)
    request.keep_open(form.file)
    body: JsonObject = {
        name: values[0] if len(values) == 1 else values for name, values in fields.lists()
    }
    if default_model:
        body.setdefault(MODEL_FIELD, default_model)
    check_form(endpoint, body, file_fields)
    return ReceivedForm(body, form)


def check_form(endpoint: str, body: JsonObject, file_fields: frozenset[str]) -> None:
    """Raise InvalidRequest unless a form has a model, its file, and readable numbers.

    Puts the numbers and switches of the form into `body` in place of their texts.
    """
    model = body.get(MODEL_FIELD)
    if model is None:
        raise missing_parameter_error(MODEL_FIELD)
    if not isinstance(model, str) or not 0 < len(model) <= LONGEST_NAME:
        raise InvalidRequest("Name one model.", param=MODEL_FIELD)
    if not ROUTING_FIELDS.isdisjoint(body):
        field = min(ROUTING_FIELDS & body.keys())
        raise InvalidRequest(
            f"The field {field!r} is not accepted here.", param=field, code="unknown_parameter"
        )
    refuse_file_fields(file_fields)
    file_names = AUDIO_FILE_FIELDS if endpoint in AUDIO_ENDPOINTS else IMAGE_FILE_FIELDS
    if file_fields.isdisjoint(file_names):
        message = f"The form needs a file in {file_names[0]!r}."
        raise missing_parameter_error(file_names[0], message)
    if endpoint == IMAGE_EDITS and not body.get("prompt"):
        raise missing_parameter_error("prompt")
    if endpoint in IMAGE_ENDPOINTS:
        read_image_count(body)
    if "stream" in body:
        body["stream"] = read_switch(body, "stream")


def refuse_file_fields(file_fields: frozenset[str]) -> None:
    """Raise InvalidRequest for a file where a text belongs: an upstream might read it as that."""
    if wrong := sorted(file_fields & TEXT_FIELD_NAMES):
        raise InvalidRequest(
            f"The field {wrong[0]!r} is no file.", param=wrong[0], code="invalid_type"
        )


def read_image_count(body: JsonObject) -> None:
    """Put the number of images into the body in place of its text. Raises InvalidRequest."""
    text = body.get("n")
    if text is None:
        return
    if not (isinstance(text, str) and text.isascii() and text.isdigit()):
        raise InvalidRequest("'n' must be a whole number.", param="n", code="invalid_type")
    # a longer number may be too long for int()
    count = int(text) if len(text) <= COUNT_DIGITS else 0
    if not 1 <= count <= MOST_IMAGES:
        raise InvalidRequest(f"'n' must be from 1 to {MOST_IMAGES}.", param="n")
    body["n"] = count


def read_switch(body: Mapping[str, object], name: str) -> bool:
    """Return whether a field of a form says true. Raises InvalidRequest."""
    if body[name] in TRUE_TEXTS:
        return True
    if body[name] in FALSE_TEXTS:
        return False
    raise InvalidRequest(f"{name!r} must be true or false.", param=name, code="invalid_type")
