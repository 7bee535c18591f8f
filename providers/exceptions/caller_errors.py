"""Errors of requests that are at fault: nothing was sent upstream, no token is touched."""

from typing import ClassVar

from providers.exceptions.gateway_errors import GatewayError

MISSING_KEY_TEXT = "The request carries no API key: give it as “Authorization: Bearer KEY”."


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


class UpgradeRequired(CallerError):
    """The caller wants a WebSocket where there is none: the protocol here is HTTP/1.1."""

    status = 426
    code = "upgrade_required"


class KeyLimitExceeded(CallerError):
    """The caller has reached a limit.

    The limits are on running requests, on the bytes of request bodies and on background responses.
    """

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"


class TokenLimitExceeded(KeyLimitExceeded):
    """The caller has used the tokens that are allowed in a minute."""

    type = "tokens"


class QuotaExceeded(CallerError):
    """The money of the caller's key, user or team is spent; no client should try again."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    is_final = True
