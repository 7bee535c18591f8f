"""The error tree: each class carries the HTTP status, type and code of OpenAI's error object.

    GatewayError
    ├── CallerError          the request is at fault: nothing was sent upstream, no token is touched
    │   ├── InvalidRequest 400 · InvalidJson 400 · InvalidKey 401 · Forbidden 403
    │   ├── ModelNotFound 404 · UnknownUrl 404 · MethodNotAllowed 405 · RequestTimeout 408
    │   ├── ConversationBusy 409 · IdempotencyInFlight 409 · IdempotencyKeyReused 422
    │   └── BodyTooLarge 413 · UnsupportedMediaType 415 · KeyLimitExceeded 429 · HeadTooLarge 431
    ├── OwnError             the gateway is at fault
    │   ├── InternalError 500 · WebSearchNotConfigured 501 · DatabaseUnavailable 503
    │   └── Saturated 503 · ShuttingDown 503
    ├── PoolError            no upstream answered, because of the tokens or the provider
    │   ├── NoAvailableToken 503 · PoolEmpty 503 · NoTokenAnswered 503 · PoolResting 429
    │   └── ProviderDown 503 · DeadlineExceeded 504
    └── UpstreamError        an upstream was called
        ├── Rejected 400…    the caller's fault, found by the upstream: passed on, never retried
        ├── TokenError       the token's fault: AuthRejected · QuotaExhausted · RateLimited ·
        │                    UnreadableToken
        ├── ModelMissing 404 this provider lacks the model: another one is tried
        ├── Contended 503    the upstream is busy (408, 409, 425): another one is tried
        └── ProviderError 502  the provider's fault, whatever the token: Unreachable · BadTls ·
                             BadResponse · UnexpectedRedirect · Disconnected · ServerFailed ·
                             UpstreamTimeout 504

The effect of each on the token is `tokens/outcomes/consequences.py::CONSEQUENCE`;
`api/exceptions.py` renders them.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Any error that a caller gets as an OpenAI error object.

    `message` is shown to the caller, so it carries no secret; `param` names the field at fault;
    `retry_after_seconds` becomes `Retry-After`.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.shown_code = code or self.code
        self.shown_status = self.status
        self.retry_after_seconds = retry_after_seconds


# --- caller errors --------------------------------------------------------------------------------
class CallerError(GatewayError):
    status = 400
    type = "invalid_request_error"
    code: ClassVar[str | None] = None


class InvalidRequest(CallerError):
    code = "invalid_value"


class InvalidJson(CallerError):
    code = "invalid_json"


class InvalidKey(CallerError):
    status = 401
    code = "invalid_api_key"


class Forbidden(CallerError):
    status = 403
    type = "permission_error"
    code = "model_not_allowed"


class ModelNotFound(CallerError):
    status = 404
    code = "model_not_found"


class UnknownUrl(CallerError):
    status = 404
    code = "unknown_url"


class MethodNotAllowed(CallerError):
    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed_methods = allowed


class RequestTimeout(CallerError):
    status = 408
    code = "request_timeout"


class ConversationBusy(CallerError):
    status = 409
    code = "conversation_busy"


class IdempotencyInFlight(CallerError):
    status = 409
    code = "idempotency_in_flight"


class IdempotencyKeyReused(CallerError):
    status = 422
    code = "idempotency_key_reused"


class BodyTooLarge(CallerError):
    status = 413
    code = "body_too_large"


class HeadTooLarge(CallerError):
    status = 431
    code = "head_too_large"


class UnsupportedMediaType(CallerError):
    status = 415
    code = "unsupported_media_type"


class KeyLimitExceeded(CallerError):
    """The caller has reached a limit.

    The limits are on running requests, on the bytes of request bodies and on background responses.
    """

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"


# --- own errors -----------------------------------------------------------------------------------
class OwnError(GatewayError):
    status = 503


class InternalError(OwnError):
    status = 500


class DatabaseUnavailable(OwnError):
    code = "database_unavailable"


class WebSearchNotConfigured(OwnError):
    status = 501
    code = "web_search_not_configured"


class Saturated(OwnError):
    code = "too_many_requests_in_flight"


class ShuttingDown(OwnError):
    code = "server_shutdown"


# --- pool errors ----------------------------------------------------------------------------------
class PoolError(GatewayError):
    status = 503
    type = "upstream_error"


class NoAvailableToken(PoolError):
    """There are tokens, but all are disabled or expired: waiting does not help."""

    code = "no_available_token"


class PoolEmpty(PoolError):
    """The providers of the model have no token at all."""

    code = "no_upstream_token"


class NoTokenAnswered(PoolError):
    """As many tokens as one request may try were rejected; there are others."""

    code = "no_token_answered"


class ProviderDown(PoolError):
    """The circuit breaker of each provider is open."""

    code = "provider_unavailable"


class PoolResting(PoolError):
    """Every usable token is rate limited for some time."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class DeadlineExceeded(PoolError):
    """The request's deadline passed before a token answered."""

    status = 504
    code = "deadline_exceeded"


# --- upstream errors ------------------------------------------------------------------------------
class UpstreamError(GatewayError):
    """An error of an upstream that was called.

    `upstream_status` is the HTTP status it answered with, None when there was no answer.
    """

    status = 502
    type = "upstream_error"
    code = "bad_upstream_response"
    upstream_status: int | None = None


class Rejected(UpstreamError):
    """The upstream finds the request at fault.

    Its status (400, 413, 422 …) and message go to the caller.
    """

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class TokenError(UpstreamError):
    status = 503
    code = "no_available_token"


class AuthRejected(TokenError):
    pass


class QuotaExhausted(TokenError):
    pass


class RateLimited(TokenError):
    """The upstream limits the rate of this token.

    `is_per_model`: the limit holds for the requested model only, other models may still be used.
    `organization` is the one that the limit belongs to, where the upstream says so.
    """

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    is_per_model: bool = False
    organization: str = ""


class UnreadableToken(TokenError):
    """None of our encryption keys opens the stored token; nothing was sent."""


class ModelMissing(UpstreamError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class Contended(UpstreamError):
    status = 503
    code = "upstream_busy"


class ProviderError(UpstreamError):
    pass


class Unreachable(ProviderError):
    code = "upstream_unreachable"


class BadTls(ProviderError):
    code = "upstream_tls"


class BadResponse(ProviderError):
    pass


class UnexpectedRedirect(ProviderError):
    code = "unexpected_redirect"


class Disconnected(ProviderError):
    code = "upstream_disconnected"


class ServerFailed(ProviderError):
    code = "upstream_failed"


class UpstreamTimeout(ProviderError):
    status = 504
    code = "upstream_timeout"
