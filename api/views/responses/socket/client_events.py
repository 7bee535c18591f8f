"""The events that a client sends on the WebSocket of /v1/responses.

There is one kind: `response.create`, with the fields of the body of POST /v1/responses beside it.
Source: OpenAI's guide "WebSocket mode"; the types of the openai package.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from api.responses.request import schema
from api.schemas.json_body import Maybe, parse_json_body
from api.views.responses.socket.local_responses import Lane
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")
STREAM_ID_TEXT = (
    "stream_id has 1 to 256 characters: letters, digits, underscores, hyphens and full stops."
)
ENVELOPE_FIELDS = ("type", "stream_id", "generate")  # which are not part of a response's body


class Envelope(Struct):
    """The one field of an event that decides when the event is answered."""

    stream_id: Any = None


class CreateEvent(schema.ResponseBody, kw_only=True):
    """A `response.create` event; its answer is always streamed, and never in the background."""

    type: Literal["response.create"]
    stream_id: str | Maybe = UNSET
    generate: bool | Maybe = UNSET
    prompt_cache_options: JsonObject | Maybe = UNSET


@dataclass(frozen=True, slots=True)
class TurnBody:
    """The validated body of a turn; one that is not to be generated only prepares the next turn."""

    body: JsonObject
    is_generated: bool


def read_lane(raw: bytes) -> Lane:
    """Return the lane of an event, which may be no valid JSON.

    Raises InvalidRequest.
    """
    if b"stream_id" not in raw:
        return None
    try:
        stream_id = msgspec.json.decode(raw, type=Envelope).stream_id
    except msgspec.MsgspecError:
        return None  # the whole event is refused when its turn comes
    if stream_id is None:
        return None
    if not isinstance(stream_id, str) or not STREAM_ID.fullmatch(stream_id):
        raise InvalidRequest(STREAM_ID_TEXT, param="stream_id", code="invalid_stream_id")
    return stream_id


def read_create_event(raw: bytes) -> JsonObject:
    """Return a validated `response.create` event.

    Raises InvalidJson or InvalidRequest, with `param` when one field is at fault.
    """
    event = parse_json_body(raw, CreateEvent)
    if event.get("stream") is False:
        raise InvalidRequest(
            "On a WebSocket every response is streamed.",
            param="stream",
            code="unsupported_parameter",
        )
    if event.get("background"):
        raise InvalidRequest(
            "On a WebSocket no response is in the background: POST it.",
            param="background",
            code="unsupported_parameter",
        )
    if event.get("generate") is False and event.get("conversation") is not None:
        raise InvalidRequest(
            "A response that is not generated cannot be part of a conversation.",
            param="generate",
        )
    event["stream"] = True
    schema.check_response_fields(event)
    return event


def split_event(event: JsonObject) -> TurnBody:
    """Return the body that a POST would have, and whether a model is to be asked."""
    cache_options = event.get("prompt_cache_options") or {}
    is_generated = event.get("generate") is not False and not cache_options.get("prewarm")
    body = {name: value for name, value in event.items() if name not in ENVELOPE_FIELDS}
    return TurnBody(body, is_generated)
