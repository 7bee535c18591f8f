"""A token pool for one request, made of the tokens that the caller sent along.

These tokens are never stored in a row, a note or a log.
"""

import time
from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

from providers.exceptions import UpstreamError
from providers.protocol.request import Credential
from providers.upstream.base_adapter import Upstream
from providers.upstream.rate_limits import Limit
from tokens.outcomes.breaker import FailedRequest
from tokens.outcomes.upstream_call import Call
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import Entry
from tokens.token_counts import TokenCounts


class Borrowed(Pool):
    """A pool of the caller's own `secrets`, used in the order in which they came.

    It shares the circuit breakers of the real `pool`.
    """

    shared = False

    def __init__(self, pool: Pool, secrets: Sequence[str]) -> None:
        super().__init__()
        self._health = pool._health
        self._brought = [Entry(uuid4(), 0, "", secret=secret) for secret in secrets]

    def pick(
        self,
        upstream: Upstream,
        tried: Collection[UUID],
        preferred: UUID | None = None,
        model: str = "",
        *,
        proven: bool = False,
    ) -> Entry | None:
        return next((entry for entry in self._brought if entry.id not in tried), None)

    def pick_failing(self, upstream: Upstream, tried: Collection[UUID]) -> Entry | None:
        return None

    def anonymous(self, upstream: Upstream) -> bool:
        return False

    def credential(self, entry: Entry | None) -> Credential:
        return Credential(None, entry.secret or "" if entry else "")

    def counts(self, upstream: Upstream, model: str = "") -> TokenCounts:
        total = len(self._brought)
        return TokenCounts(total, total, 0, 0, 0, 0, 0, 0)

    def wakes_in(self, upstream: Upstream, model: str = "") -> float | None:
        return None

    def held_for(self, upstream: Upstream, tried: Collection[UUID]) -> float | None:
        return None

    def has_untried(self, upstream: Upstream, tried: Collection[UUID], model: str) -> bool:
        return any(entry.id not in tried for entry in self._brought)

    # --- results of a caller's own token: not counted against the provider, not remembered --------
    def record_answer(self, call: Call) -> None:
        health = call.health
        now = time.monotonic()
        health.end(call, now, answered=True)
        health.breaker.record_answer(now)

    def record_error(self, call: Call, error: UpstreamError) -> FailedRequest | None:
        self.record_undecided(call)
        return None

    def record_limit(self, call: Call, limit: Limit) -> None:
        """Ignore the rate limit: the caller's own token is not remembered."""
