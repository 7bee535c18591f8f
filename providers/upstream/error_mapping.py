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
from typing import Any

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
from providers.upstream import rate_limits
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
MESSAGE_LENGTH = 500
RAW_MESSAGE_LENGTH = 10_000  # characters of an upstream's message that are processed


def find_error_object(body: dict[str, Any]) -> dict[str, Any] | None:
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
    return {"message": detail if isinstance(detail, str) else str(detail)} if detail else None


def map_error_answer(
    error_codes: Mapping[str, type[UpstreamError]],
    status: Any,
    error_object: Mapping[str, Any] | None,
    headers: Mapping[bytes, bytes],
    *,
    secret: str = "",
) -> UpstreamError:
    """Return the error to raise for an error answer.

    `status` is None for an error inside a 200 stream. `secret` is blanked wherever the message
    contains it.
    """
    error_object = error_object or {}
    html = b"html" in headers.get(b"content-type", b"")
    code = str(error_object.get("code") or "")
    kind = str(error_object.get("type") or "")
    if not isinstance(status, int):
        status = int(code) if re.fullmatch(r"[1-5][0-9]{2}", code, re.ASCII) else None
        # without a status this type is all there is; with one, the status says more
        kind = "invalid_value" if kind == "invalid_request_error" else kind
    named = error_codes.get(code.lower()) or (error_codes.get(kind.lower()) if kind else None)
    found = (
        named
        if named is not None and not html
        else choose_class_by_status(status, error_object, html)
    )
    if found is AuthRejected and (error_object.get("param") or is_flagged_input(error_object)):
        # a 401 that names a parameter, or a 403 for flagged input, is the request's fault
        found = Rejected
    message = clean_message(str(error_object.get("message") or ""), secret)
    result: UpstreamError
    if found is Rejected:
        param, shown_code = (
            clean_message(text_or_none(value) or "", secret)[:200]
            for value in (error_object.get("param"), code)
        )
        message = message or "The upstream refused the request."
        result = Rejected(message, param=param or None, code=shown_code or None)
        result.shown_status = status if status in (400, 403, 405, 409, 413, 415, 422) else 400
    else:
        result = found(message or f"The upstream answered with status {status}.")
    if found is ServerFailed and status in (504, 522, 524):
        result.shown_status = 504
        result.shown_code = "upstream_timeout"
    if found is Contended:
        result.shown_status = {408: 504, 409: 409}.get(status or 0, 503)
    result.upstream_status = status
    result.retry_after_seconds = read_retry_after(headers)
    if isinstance(result, RateLimited | QuotaExhausted):
        add_limit_details(result, error_object, headers)
    return result


def add_limit_details(
    result: RateLimited | QuotaExhausted, error: Mapping[str, Any], headers: Mapping[bytes, bytes]
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


def choose_class_by_status(
    status: int | None, error: Mapping[str, Any], is_html: bool
) -> type[UpstreamError]:
    if status is None:
        return ServerFailed
    if 300 <= status < 400:
        return UnexpectedRedirect
    if is_html and status not in (401, 404, 429) and status < 500:
        return BadResponse  # a captcha or a login page is the provider's fault, not the token's
    if status >= 500:
        return ServerFailed
    table: dict[int, type[UpstreamError]] = {
        401: AuthRejected,
        402: QuotaExhausted,
        403: AuthRejected,
        404: ModelMissing,
        408: Contended,
        409: Contended,
        425: Contended,
        429: RateLimited,
    }
    return table.get(status, Rejected if 400 <= status < 500 else BadResponse)


def is_flagged_input(error: Mapping[str, Any]) -> bool:
    """Return whether the input was rejected by moderation, in OpenRouter's form of the error."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and not metadata.keys().isdisjoint(
        ("flagged_input", "reasons")
    )


def require_quota(body: Any) -> None:
    """Raise QuotaExhausted when an upstream's data about a key says that its limit is used up."""
    facts = body.get("data") if isinstance(body, dict) else None
    left = facts.get("limit_remaining") if isinstance(facts, dict) else None
    if isinstance(left, int | float) and not isinstance(left, bool) and left <= 0:
        raise QuotaExhausted("The limit of the key is used up.")


SECONDS_PATTERN = re.compile(r"\d{1,12}(\.\d{0,9})?", re.ASCII)


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
        at = parsedate_to_datetime(text)
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        return max(0.0, seconds)
    except (ValueError, OverflowError):
        return None


def clean_message(message: str, secret: str) -> str:
    """Return an upstream's message as one printable line of at most MESSAGE_LENGTH characters.

    The secret that was sent to the upstream is blanked.
    """
    message = blank_secret(message[:RAW_MESSAGE_LENGTH], secret)
    return " ".join("".join(c if c.isprintable() else " " for c in message).split())[
        :MESSAGE_LENGTH
    ]


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
