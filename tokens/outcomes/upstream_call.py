"""One call to an upstream, and the names of its possible effects on a token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.upstream.base_adapter import Upstream
from tokens.outcomes.breaker import FailedRequest
from tokens.pool.pooled_token import PooledToken

if TYPE_CHECKING:
    from tokens.outcomes.provider_health import ProviderHealth

STRIKE = "strike"
COOLDOWN = "rest"
EXHAUST = "exhaust"
AGAINST_PROVIDER = "break"
UNREADABLE = "unreadable"
FAILING_TOKEN = "fail"  # noqa: S105 - no password
RECOVERY = "absolve"
FAILING_CLEARED = "clear"


@dataclass(slots=True, eq=False)
class UpstreamCall:
    """One call to an upstream within a request."""

    upstream: Upstream
    entry: PooledToken | None
    health: "ProviderHealth"  # of the provider
    model_name: str = ""  # the upstream's name of it
    request_id: str = ""
    caller_id: int | None = None  # the user
    failed_request: FailedRequest | None = None  # the request's earlier failures at this provider
