"""A token pool for one request, made of the tokens that the caller sent along.

These tokens are never stored in a row, a queued change or a log.
"""

import time
from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

from providers.exceptions import UpstreamError
from providers.protocol.request import Credential
from providers.upstream.base_adapter import Upstream
from providers.upstream.rate_limits import RateLimit
from tokens.outcomes.breaker import FailedRequest
from tokens.outcomes.upstream_call import UpstreamCall
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken
from tokens.token_counts import TokenCounts


class CallerPool(Pool):
    """A pool of the caller's own `secrets`, used in the order in which they came.

    It shares the circuit breakers of the real `pool`.
    """

    is_shared = False

    def __init__(self, pool: Pool, secrets: Sequence[str]) -> None:
        super().__init__()
        self._health = pool._health
        self._caller_entries = [PooledToken(uuid4(), 0, "", secret=secret) for secret in secrets]

    def pick_token(
        self,
        upstream: Upstream,
        tried_ids: Collection[UUID],
        preferred_id: UUID | None = None,
        model: str = "",
        *,
        wants_proven: bool = False,
    ) -> PooledToken | None:
        return next((entry for entry in self._caller_entries if entry.id not in tried_ids), None)

    def pick_failing_token(
        self, upstream: Upstream, tried_ids: Collection[UUID]
    ) -> PooledToken | None:
        return None

    def is_asked_anonymously(self, upstream: Upstream) -> bool:
        return False

    def open_credential(self, entry: PooledToken | None) -> Credential:
        if entry is None:
            return Credential(None, "")
        return Credential(None, entry.secret or "")

    def count_by_state(self, upstream: Upstream, model: str = "") -> TokenCounts:
        total = len(self._caller_entries)
        return TokenCounts(total, total, 0, 0, 0, 0, 0, 0)

    def find_wait_seconds(self, upstream: Upstream, model: str = "") -> float | None:
        return None

    def find_trial_seconds(self, upstream: Upstream, tried_ids: Collection[UUID]) -> float | None:
        return None

    def has_untried_token(
        self, upstream: Upstream, tried_ids: Collection[UUID], model: str
    ) -> bool:
        return any(entry.id not in tried_ids for entry in self._caller_entries)

    # --- results of a caller's own token: not counted against the provider, not remembered --------
    def record_answer(self, call: UpstreamCall) -> None:
        health = call.health
        now = time.monotonic()
        health.end_call(call, now, answered=True)
        health.breaker.record_answer(now)

    def record_error(self, call: UpstreamCall, error: UpstreamError) -> FailedRequest | None:
        self.record_undecided(call)
        return None

    def record_limit(self, call: UpstreamCall, limit: RateLimit) -> None:
        """Ignore the rate limit: the caller's own token is not remembered."""
