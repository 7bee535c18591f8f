"""The error tree: each class carries the HTTP status, type and code of OpenAI's error object.

    GatewayError
    ├── CallerError          the request is at fault: nothing was sent upstream, no token is touched
    │   ├── InvalidRequest 400 · InvalidJson 400 · InvalidKey 401 · Forbidden 403
    │   ├── ModelNotFound 404 · UnknownUrl 404 · MethodNotAllowed 405 · RequestTimeout 408
    │   ├── ConversationBusy 409 · IdempotencyInFlight 409 · IdempotencyKeyReused 422
    │   ├── BodyTooLarge 413 · UnsupportedMediaType 415 · UpgradeRequired 426
    │   ├── KeyLimitExceeded 429 (TokenLimitExceeded) · QuotaExceeded 429
    │   └── HeadTooLarge 431
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

from providers.exceptions.caller_errors import (
    MISSING_KEY_TEXT,
    BodyTooLarge,
    CallerError,
    ConversationBusy,
    Forbidden,
    HeadTooLarge,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    InvalidJson,
    InvalidKey,
    InvalidRequest,
    KeyLimitExceeded,
    MethodNotAllowed,
    ModelNotFound,
    QuotaExceeded,
    RequestTimeout,
    TokenLimitExceeded,
    UnknownUrl,
    UnsupportedMediaType,
    UpgradeRequired,
)
from providers.exceptions.gateway_errors import (
    DatabaseUnavailable,
    GatewayError,
    InternalError,
    OwnError,
    Saturated,
    ShuttingDown,
    WebSearchNotConfigured,
)
from providers.exceptions.pool_errors import (
    DeadlineExceeded,
    NoAvailableToken,
    NoTokenAnswered,
    PoolEmpty,
    PoolError,
    PoolResting,
    ProviderDown,
)
from providers.exceptions.upstream_errors import (
    AuthRejected,
    BadResponse,
    BadTls,
    Contended,
    Disconnected,
    ModelMissing,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
    TokenError,
    UnexpectedRedirect,
    Unreachable,
    UnreadableToken,
    UpstreamError,
    UpstreamTimeout,
)

__all__ = [
    "MISSING_KEY_TEXT",
    "AuthRejected",
    "BadResponse",
    "BadTls",
    "BodyTooLarge",
    "CallerError",
    "Contended",
    "ConversationBusy",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "Disconnected",
    "Forbidden",
    "GatewayError",
    "HeadTooLarge",
    "IdempotencyInFlight",
    "IdempotencyKeyReused",
    "InternalError",
    "InvalidJson",
    "InvalidKey",
    "InvalidRequest",
    "KeyLimitExceeded",
    "MethodNotAllowed",
    "ModelMissing",
    "ModelNotFound",
    "NoAvailableToken",
    "NoTokenAnswered",
    "OwnError",
    "PoolEmpty",
    "PoolError",
    "PoolResting",
    "ProviderDown",
    "ProviderError",
    "QuotaExceeded",
    "QuotaExhausted",
    "RateLimited",
    "Rejected",
    "RequestTimeout",
    "Saturated",
    "ServerFailed",
    "ShuttingDown",
    "TokenError",
    "TokenLimitExceeded",
    "UnexpectedRedirect",
    "UnknownUrl",
    "Unreachable",
    "UnreadableToken",
    "UnsupportedMediaType",
    "UpgradeRequired",
    "UpstreamError",
    "UpstreamTimeout",
    "WebSearchNotConfigured",
]
