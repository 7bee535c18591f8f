"""One call to an upstream, and the names of its possible effects on a token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.upstream.base_adapter import Upstream
from tokens.outcomes.breaker import FailedRequest
from tokens.pool.pooled_token import Entry

if TYPE_CHECKING:
    from tokens.outcomes.provider_health import Health

STRIKE = "strike"
REST = "rest"
EXHAUST = "exhaust"
BREAK = "break"
UNREADABLE = "unreadable"
FAIL = "fail"
ABSOLVE = "absolve"


@dataclass(slots=True, eq=False)
class Call:
    """One call to an upstream within a request."""

    upstream: Upstream
    entry: Entry | None
    health: "Health"  # of the provider
    model: str = ""  # the upstream's name of it
    request_id: str = ""
    caller: int | None = None  # the user
    failed: FailedRequest | None = None  # the request's earlier failures at this provider
