"""Errors of an upstream that was called: of the request, of a token or of the provider."""

from providers.exceptions.gateway_errors import GatewayError


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
    is_final = True


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
    is_final = True


class Contended(UpstreamError):
    status = 503
    code = "upstream_busy"


class ProviderError(UpstreamError):
    pass


class Unreachable(ProviderError):
    code = "upstream_unreachable"


class BadTls(ProviderError):
    code = "upstream_tls"
    is_final = True


class BadResponse(ProviderError):
    pass


class UnexpectedRedirect(ProviderError):
    code = "unexpected_redirect"
    is_final = True


class Disconnected(ProviderError):
    code = "upstream_disconnected"


class ServerFailed(ProviderError):
    code = "upstream_failed"


class UpstreamTimeout(ProviderError):
    status = 504
    code = "upstream_timeout"
