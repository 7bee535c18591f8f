"""Errors of requests that no upstream answered, because of the tokens or the provider."""

from providers.exceptions.gateway_errors import GatewayError


class PoolError(GatewayError):
    status = 503
    type = "upstream_error"


class NoAvailableToken(PoolError):
    """There are tokens, but all are disabled or expired: waiting does not help."""

    code = "no_available_token"


class PoolEmpty(PoolError):
    """The providers of the model have no token at all."""

    code = "no_upstream_token"
    is_final = True


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
