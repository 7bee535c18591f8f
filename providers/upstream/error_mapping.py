"""Map an upstream's error answer to one class of `providers.exceptions`. No I/O.

It reads the status, the error object and the headers. The code or type in the error object is
checked before the status, because a used-up quota often has the status 429 and a bad parameter
sometimes 401. Sources: OpenAI's "Error codes"; Moonshot's, DeepSeek's and OpenRouter's error pages;
vLLM's error body.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from providers.exceptions import (
    AuthRejected,
    BadResponse,
    Contended,
    ModelMissing,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
    UnexpectedRedirect,
    UpstreamError,
)
from providers.protocol.json_types import JsonObject
from providers.upstream import rate_limits
from providers.upstream.context_overflow import CONTEXT_TOO_LONG, is_context_overflow
from providers.upstream.redaction import blank_secret

ERROR_CODES: dict[str, type[UpstreamError]] = {
    "insufficient_quota": QuotaExhausted,
    "exceeded_current_quota_error": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "insufficient_balance": QuotaExhausted,
    "invalid_api_key": AuthRejected,
    "invalid_authentication_error": AuthRejected,
    "incorrect_api_key_error": AuthRejected,
    "authentication_error": AuthRejected,
    "account_deactivated": AuthRejected,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "rate_limit_reached_error": RateLimited,
    "unsupported_country_region_territory": ServerFailed,
    "engine_overloaded_error": ServerFailed,
    "overloaded_error": ServerFailed,
    "server_error": ServerFailed,
    "internal_error": ServerFailed,
    "model_not_found": ModelMissing,
    "resource_not_found_error": ModelMissing,
    "context_length_exceeded": Rejected,
    "content_filter": Rejected,
    "content_policy_violation": Rejected,
    "unsupported_parameter": Rejected,
    "unknown_parameter": Rejected,
    "missing_required_parameter": Rejected,
    "invalid_value": Rejected,
}
CLASS_BY_STATUS: dict[int, type[UpstreamError]] = {
    401: AuthRejected,
    402: QuotaExhausted,
    403: AuthRejected,
    404: ModelMissing,
    408: Contended,
    409: Contended,
    425: Contended,
    429: RateLimited,
}
PASSED_ON_STATUSES = (400, 403, 405, 409, 413, 415, 422)  # of rejected requests
MESSAGE_LENGTH = 500
FIELD_LENGTH = 200  # of the parameter and the code in an upstream's error object
RAW_MESSAGE_LENGTH = 10_000  # characters of an upstream's message that are processed
SECONDS_PATTERN = re.compile(r"\d{1,12}(\.\d{0,9})?", re.ASCII)


def find_error_object(body: JsonObject) -> JsonObject | None:
    """Return the error object of a body, or None.

    Known forms: OpenAI's `{"error": {…}}`, a bare string in `error`, vLLM's `{"object": "error"}`,
    `{"type": "error"}`, `{"detail": …}` and `{"message": …}`.
    """
    error = body.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {**body, "message": error}
    if body.get("object") == "error" or body.get("type") == "error":
        return body
    detail = body.get("detail") or body.get("message")
    if not detail:
        return None
    return {"message": str(detail)}


def map_error_answer(
    error_codes: Mapping[str, type[UpstreamError]],
    status: object,
    error_object: JsonObject | None,
    headers: Mapping[bytes, bytes],
    *,
    secret: str = "",
) -> UpstreamError:
    """Return the error to raise for an error answer.

    `status` is None for an error inside a 200 stream. `secret` is blanked wherever the message
    contains it.
    """
    fields = error_object or {}
    named_class = find_named_class(error_codes, fields, has_status=isinstance(status, int))
    if not isinstance(status, int):
        status = read_status_code(fields)
    error_class = choose_error_class(named_class, status, fields, headers)
    message = clean_message(str(fields.get("message") or ""), secret)
    result: UpstreamError
    if error_class is Rejected:
        result = make_rejection(message, status, fields, secret)
    else:
        result = error_class(message or f"The upstream answered with status {status}.")
    if error_class is ServerFailed and status in (504, 522, 524):
        result.shown_status = 504
        result.shown_code = "upstream_timeout"
    if error_class is Contended:
        result.shown_status = {408: 504, 409: 409}.get(status or 0, 503)
    result.upstream_status = status
    result.retry_after_seconds = read_retry_after(headers)
    if isinstance(result, RateLimited | QuotaExhausted):
        add_limit_details(result, fields, headers)
    return result


def find_named_class(
    error_codes: Mapping[str, type[UpstreamError]], error: JsonObject, *, has_status: bool
) -> type[UpstreamError] | None:
    """Return the class for the code or the type in an error object; None when neither is known."""
    code = str(error.get("code") or "")
    kind = str(error.get("type") or "")
    if kind == "invalid_request_error" and not has_status:
        kind = "invalid_value"  # without a status this type is all there is; a status says more
    return error_codes.get(code.lower()) or error_codes.get(kind.lower())


def read_status_code(error: JsonObject) -> int | None:
    """Return the HTTP status that an error object gives as its code, or None."""
    code = str(error.get("code") or "")
    if not re.fullmatch(r"[1-5][0-9]{2}", code, re.ASCII):
        return None
    return int(code)


def choose_error_class(
    named_class: type[UpstreamError] | None,
    status: int | None,
    error: JsonObject,
    headers: Mapping[bytes, bytes],
) -> type[UpstreamError]:
    """Return the class that the error object names, else the one of the status."""
    is_html = b"html" in headers.get(b"content-type", b"")
    error_class = named_class
    if error_class is None or is_html:
        error_class = choose_class_by_status(status, is_html)
    if error_class is AuthRejected and (error.get("param") or is_flagged_input(error)):
        # a 401 that names a parameter, or a 403 for flagged input, is the request's fault
        error_class = Rejected
    return error_class


def make_rejection(message: str, status: int | None, error: JsonObject, secret: str) -> Rejected:
    """Return the error for a request that the upstream finds at fault."""
    param = clean_message(text_or_empty(error.get("param")), secret)[:FIELD_LENGTH]
    code = clean_message(name_rejection(error, message), secret)[:FIELD_LENGTH]
    message = message or "The upstream refused the request."
    rejection = Rejected(message, param=param or None, code=code or None)
    rejection.shown_status = 400
    if status in PASSED_ON_STATUSES:
        rejection.shown_status = status
    return rejection


def name_rejection(error: JsonObject, message: str) -> str:
    """Return the code of a rejection: the upstream's, or its type if that is a code as well.

    An HTTP status in the place of the code (vLLM, llama.cpp) is none. Empty when there is none.
    """
    kind = text_or_empty(error.get("type")).lower()
    if is_context_overflow(kind, message):
        return CONTEXT_TOO_LONG
    code = error.get("code")
    if code and not read_status_code(error):
        return str(code)
    return kind if ERROR_CODES.get(kind) is Rejected else ""


def add_limit_details(
    result: RateLimited | QuotaExhausted, error: JsonObject, headers: Mapping[bytes, bytes]
) -> None:
    """Write into `result` until when and for whom the limit holds, as far as the upstream says."""
    reset = rate_limits.read_reset(headers)
    if result.retry_after_seconds is None:
        seconds = rate_limits.read_body_reset(error)
        if seconds is None and reset is not None and isinstance(result, RateLimited):
            seconds = reset.seconds
        result.retry_after_seconds = seconds
    if isinstance(result, RateLimited):
        result.is_per_model = rate_limits.has_model_limits(headers)
        result.organization = rate_limits.read_organization(headers, result.message)


def choose_class_by_status(status: int | None, is_html: bool) -> type[UpstreamError]:
    """Return the class of a status; None is the status of an error inside a 200 stream."""
    if status is None:
        return ServerFailed
    if 300 <= status < 400:
        return UnexpectedRedirect
    if is_html and status not in (401, 404, 429) and status < 500:
        return BadResponse  # a captcha or a login page is the provider's fault, not the token's
    if status >= 500:
        return ServerFailed
    if status < 400:
        return BadResponse
    return CLASS_BY_STATUS.get(status, Rejected)


def is_flagged_input(error: JsonObject) -> bool:
    """Return whether the input was rejected by moderation, in OpenRouter's form of the error."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and not metadata.keys().isdisjoint(
        ("flagged_input", "reasons")
    )


def require_quota(body: object) -> None:
    """Raise QuotaExhausted when an upstream's data about a key says that its limit is used up."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        return
    remaining = body["data"].get("limit_remaining")
    if isinstance(remaining, int | float) and not isinstance(remaining, bool) and remaining <= 0:
        raise QuotaExhausted("The limit of the key is used up.")


def read_retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """Return the seconds until the upstream wants the next request; None when it does not say.

    They are read from `retry-after-ms` or `Retry-After`.
    """
    millis = headers.get(b"retry-after-ms", b"").decode("latin-1").strip()
    if SECONDS_PATTERN.fullmatch(millis):
        return float(millis) / 1000
    text = headers.get(b"retry-after", b"").decode("latin-1").strip()
    if SECONDS_PATTERN.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        wait = date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)
        return max(0.0, wait.total_seconds())
    except (ValueError, OverflowError):
        return None


def clean_message(message: str, secret: str) -> str:
    """Return an upstream's message as one printable line of at most MESSAGE_LENGTH characters.

    The secret that was sent to the upstream is blanked.
    """
    message = blank_secret(message[:RAW_MESSAGE_LENGTH], secret)
    printable = "".join([char if char.isprintable() else " " for char in message])
    words = printable.split()
    return " ".join(words)[:MESSAGE_LENGTH]


def text_or_empty(value: object) -> str:
    if isinstance(value, str):
        return value
    return ""
