"""One call to an upstream, and the names of what it can do to a token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.base import Upstream
from tokens.breaker import FailedRequest
from tokens.entries import Entry

if TYPE_CHECKING:
    from tokens.health import Health

STRIKE, REST, EXHAUST, BREAK, UNREADABLE = "strike", "rest", "exhaust", "break", "unreadable"
FAIL, ABSOLVE = "fail", "absolve"


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
