"""The kinds of errors that callers can get, for the page of the API."""

from collections.abc import Iterator
from dataclasses import dataclass

from providers.exceptions import GatewayError

ERROR_TEXTS = {
    "invalid_json": "The body is no JSON.",
    "invalid_value": "A field has a wrong value; param names it.",
    "invalid_api_key": "The API key is missing, unknown, expired or revoked.",
    "model_not_allowed": "The key may not use this model, endpoint or address.",
    "model_not_found": "There is no such model, or the key has no access to it.",
    "unknown_url": "There is no endpoint at this address, or nothing with this id.",
    "method_not_allowed": "The endpoint does not take this method; Allow names those it takes.",
    "request_timeout": "The body did not arrive in time.",
    "conversation_busy": "Another request of this conversation still runs.",
    "idempotency_in_flight": "The request with this Idempotency-Key still runs.",
    "idempotency_key_reused": "The Idempotency-Key was used for another request.",
    "body_too_large": "The body is larger than this gateway takes.",
    "unsupported_media_type": "The body has another content type than the endpoint takes.",
    "upgrade_required": "The address is no WebSocket.",
    "head_too_large": "The headers are larger than this gateway takes.",
    "rate_limit_exceeded": "A limit of the key, or the upstream's own, is reached: wait as "
    "Retry-After says.",
    "insufficient_quota": "The budget of the key, the user or the team is spent.",
    "internal_error": "Something went wrong here; report the request's id.",
    "web_search_not_configured": "The operator has set no search service.",
    "bad_upstream_response": "The upstream's answer cannot be read.",
    "unexpected_redirect": "The upstream sent the request to another address.",
    "upstream_disconnected": "The upstream closed the connection.",
    "upstream_failed": "The upstream failed, and so did the others that were asked.",
    "upstream_tls": "The upstream's certificate is not valid.",
    "upstream_unreachable": "The upstream cannot be reached.",
    "upstream_busy": "The upstream is busy for now.",
    "upstream_timeout": "The upstream did not answer in time.",
    "no_available_token": "No credential for the upstream can be used now.",
    "no_token_answered": "Several credentials were tried, and the upstream rejected all.",
    "no_upstream_token": "There is no credential for the upstream.",
    "provider_unavailable": "The upstream fails, and is not asked again before Retry-After.",
    "database_unavailable": "The gateway's database does not answer; nothing was sent on.",
    "server_shutdown": "The gateway is being restarted: send the request again.",
    "too_many_requests_in_flight": "Too many requests run at the same time.",
    "deadline_exceeded": "The time for the whole request was over.",
}


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One kind of error: its HTTP status, its code, and its meaning."""

    status: int
    code: str
    type: str
    meaning: str


def list_error_kinds() -> list[ErrorKind]:
    """Return the kinds of errors that have a code, by status and code."""
    kinds = {
        (error.status, error.code): ErrorKind(
            error.status, error.code, error.type, ERROR_TEXTS.get(error.code, "")
        )
        for error in list_error_classes(GatewayError)
        if error.code
    }
    return [kinds[key] for key in sorted(kinds)]


def list_error_classes(base: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """Yield a class of errors and all that are derived from it."""
    yield base
    for derived in base.__subclasses__():
        yield from list_error_classes(derived)
