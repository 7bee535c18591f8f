"""Map Gemini's errors to classes of `providers.exceptions`. No I/O.

An error has an HTTP status, the name of a google.rpc code, a message, and details: `ErrorInfo` with
a reason, `QuotaFailure` with the quotas that are used up, `RetryInfo` with a delay, `BadRequest`
with the fields at fault. A quota per day begins anew at midnight Pacific time. Source: Gemini's API
documentation, "Troubleshooting" and "Rate limits"; google/rpc/error_details.proto.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from providers.exceptions import (
    AuthRejected,
    Contended,
    ModelMissing,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.protocol.json_types import JsonObject
from providers.upstream.error_mapping import map_error_answer
from providers.wire.data_urls import as_text

PACIFIC = ZoneInfo("America/Los_Angeles")
ERRORS: dict[str, type[UpstreamError]] = {
    "unauthenticated": AuthRejected,
    "permission_denied": AuthRejected,
    "key_rejected": AuthRejected,
    "resource_exhausted": RateLimited,
    "quota_exhausted": QuotaExhausted,
    "invalid_argument": Rejected,
    "out_of_range": Rejected,
    "already_exists": Rejected,
    "failed_precondition": Rejected,
    "resource_missing": Rejected,
    "not_found": ModelMissing,
    "aborted": Contended,
    "cancelled": ServerFailed,
    "unavailable": ServerFailed,
    "deadline_exceeded": ServerFailed,
    "internal": ServerFailed,
    "unknown": ServerFailed,
    "data_loss": ServerFailed,
    "unimplemented": ServerFailed,
    "location_refused": ServerFailed,
}
# beginnings of reasons that an ErrorInfo gives for a key that does not work, or not here
KEY_REASONS = ("API_KEY_", "CONSUMER_", "SERVICE_DISABLED", "ACCESS_TOKEN_", "BILLING_DISABLED")
# words of a used-up balance; the usual message of a passing limit speaks of billing, too
BALANCE_WORDS = ("prepa", "credits", "spend", "balance")
# of a 403 or 404 that is about something the request names, not about the key or the model
RESOURCE_WORDS = ("file", "cachedcontent", "cached content")


def map_gemini_error(
    status: int | None, body: object, headers: Mapping[bytes, bytes], secret: str
) -> UpstreamError:
    """Return the error to raise for the body of an error answer. `status` is None in a stream."""
    error = find_google_error(body)
    fields = error | {"code": name_error(error), "param": read_field(error)}
    if status is None and type(error.get("code")) is int:
        status = error["code"]
    result = map_error_answer(ERRORS, status, fields, headers, secret=secret)
    if isinstance(result, RateLimited | QuotaExhausted):
        return add_quota(result, error)
    return result


def map_error_event(event: JsonObject, secret: str) -> UpstreamError:
    """Return the error to raise for an error inside a stream, or with a success's status."""
    return map_gemini_error(None, event, {}, secret)


def find_google_error(body: object) -> JsonObject:
    """Return the error object of a body; streams without SSE wrap it in a list."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return error
    return {"message": str(error)} if error else {}


def name_error(error: JsonObject) -> str:
    """Return the name of an error in ERRORS: its google.rpc code, or a finer one."""
    name = as_text(error.get("status")).lower()
    message = as_text(error.get("message")).lower()
    reasons = [as_text(detail.get("reason")) for detail in iterate_details(error, "ErrorInfo")]
    if any(reason.startswith(KEY_REASONS) for reason in reasons) or "api key not valid" in message:
        return "key_rejected"
    if name == "failed_precondition" and "location" in message:
        return "location_refused"
    if name == "failed_precondition" and "billing" in message:
        return "quota_exhausted"
    is_about_resource = any(word in message for word in RESOURCE_WORDS)
    if name in ("permission_denied", "not_found") and is_about_resource:
        return "resource_missing"
    return name


def read_field(error: JsonObject) -> str | None:
    """Return the first field that the error finds at fault, None if it names none."""
    for detail in iterate_details(error, "BadRequest"):
        for violation in list_objects(detail.get("fieldViolations")):
            return as_text(violation.get("field")) or None
    return None


def add_quota(result: RateLimited | QuotaExhausted, error: JsonObject) -> UpstreamError:
    """Return the error with until when, and for which model and project, the quota is used up."""
    violations = [
        violation
        for detail in iterate_details(error, "QuotaFailure")
        for violation in list_objects(detail.get("violations"))
    ]
    daily = [violation for violation in violations if "PerDay" in as_text(violation.get("quotaId"))]
    is_per_model = bool(violations) and all(map(is_model_quota, daily or violations))
    message = result.message.lower()
    has_balance_words = not violations and any(word in message for word in BALANCE_WORDS)
    seconds = find_seconds_until_midnight() if daily else result.retry_after_seconds
    if (daily and not is_per_model) or has_balance_words or isinstance(result, QuotaExhausted):
        exhausted = QuotaExhausted(result.message, retry_after_seconds=seconds)
        exhausted.upstream_status = result.upstream_status
        return exhausted
    result.retry_after_seconds = seconds
    result.is_per_model = is_per_model
    result.organization = read_project(error)
    return result


def is_model_quota(violation: JsonObject) -> bool:
    """Return whether a quota is one of a single model."""
    dimensions = violation.get("quotaDimensions")
    has_model = isinstance(dimensions, dict) and "model" in dimensions
    return has_model or "PerModel" in as_text(violation.get("quotaId"))


def read_project(error: JsonObject) -> str:
    """Return the project whose quota it is; empty when the error names none."""
    for detail in iterate_details(error, "ErrorInfo"):
        metadata = detail.get("metadata")
        if isinstance(metadata, dict):
            return as_text(metadata.get("consumer"))[:64]
    return ""


def find_seconds_until_midnight() -> float:
    """Return the seconds until the quotas of a day begin anew."""
    now = datetime.now(PACIFIC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), PACIFIC)
    return midnight.timestamp() - now.timestamp()


def iterate_details(error: JsonObject, kind: str) -> Iterator[JsonObject]:
    """Yield the details of one type of google.rpc."""
    for detail in list_objects(error.get("details")):
        if as_text(detail.get("@type")).endswith(f"google.rpc.{kind}"):
            yield detail


def list_objects(items: object) -> list[JsonObject]:
    """Return the objects in a list, none if it is no list."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
