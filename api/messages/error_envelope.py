"""Errors in the form of the Messages API. Source: Anthropic's documentation, "Errors"."""

import re

import orjson

from api.error_headers import ErrorAnswer, error_headers
from api.messages.field_names import rename_field
from providers.exceptions import MISSING_KEY_TEXT, GatewayError, InvalidKey
from providers.protocol.json_types import JsonObject

TYPES_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Claude Code repeats a request with a wrong key for minutes unless it is told not to
FINAL_STATUSES = (400, 401, 402, 403, 404, 413, 422)
MISSING_KEY_HINT = (
    "The request carries no API key: give it as “x-api-key: KEY” or “Authorization: Bearer KEY”."
)
MISSING_FIELD = re.compile(r"^Missing required parameter: '.*'\.$")
THREAD_ERROR_CODE = "thread_unsupported_request"


def find_error_type(error: GatewayError) -> str:
    """Return Anthropic's type of an error."""
    status = error.shown_status
    if status == 503:
        return "overloaded_error"
    if known := TYPES_BY_STATUS.get(status):
        return known
    return "invalid_request_error" if status < 500 else "api_error"


def describe_error(error: GatewayError) -> str:
    """Return the message of an error, behind the place of the field that it is about."""
    if isinstance(error, InvalidKey) and error.message == MISSING_KEY_TEXT:
        return MISSING_KEY_HINT
    if not error.param:
        return error.message
    place = rename_field(error.param)
    if MISSING_FIELD.match(error.message):
        return f"{place}: Field required"
    message = error.message.replace(f" for {error.param!r}", "")
    return message if message.startswith(place) else f"{place}: {message}"


def build_envelope(error: GatewayError, request_id: str) -> JsonObject:
    """Return the error object, which is also the event that ends a broken stream."""
    fields: JsonObject = {"type": find_error_type(error), "message": describe_error(error)}
    if error.shown_code == THREAD_ERROR_CODE:
        fields["details"] = {"error_code": THREAD_ERROR_CODE}
    return {"type": "error", "error": fields, "request_id": request_id}


def render_envelope(error: GatewayError, request_id: str) -> ErrorAnswer:
    """Return the HTTP answer for an error."""
    headers = error_headers(error)
    if error.shown_status in FINAL_STATUSES:
        headers["x-should-retry"] = "false"
    headers["request-id"] = request_id
    headers["x-request-id"] = request_id
    return ErrorAnswer(
        orjson.dumps(build_envelope(error, request_id)),
        status=error.shown_status,
        content_type="application/json",
        headers=headers,
    )
