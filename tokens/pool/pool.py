"""The in-memory pool of all tokens, which picks the token that is used next.

The request path only touches memory. `consequences.py` applies an answer or an error to its token
and provider. Changes that must last are queued here and written by `state_writer.py`. Other
processes learn of a written state through `providers.models.Revision`.
"""

import time
from collections import deque
from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from providers import vault
from providers.choices import Mode
from providers.exceptions import UpstreamError
from providers.protocol.request import Credential
from providers.upstream.base_adapter import Upstream
from providers.upstream.rate_limits import RateLimit
from tokens.outcomes import consequences, cooldowns
from tokens.outcomes.breaker import Breaker, FailedRequest
from tokens.outcomes.provider_health import ProviderHealth
from tokens.outcomes.upstream_call import UpstreamCall
from tokens.pool.failure_counts import FailureCounts, StickyTokens
from tokens.pool.pooled_token import PooledToken
from tokens.pool.state_changes import StateChange, UseCount
from tokens.pool.stream_claims import StreamClaims
from tokens.pool.token_directory import TokenDirectory
from tokens.pool.written_batches import NumberedBatches
from tokens.renewal.renew_token import Renewals
from tokens.token_counts import TokenCounts

GUEST_MODE = Mode.GUEST.value


class Pool(TokenDirectory):
    """All tokens in memory, with the health of their providers and the changes to be written."""

    is_shared = True  # its tokens are rows, which other requests use too

    def __init__(self) -> None:
        super().__init__()
        self._health: dict[int, ProviderHealth] = {}
        self.state_changes: deque[StateChange] = deque()
        self.sticky_tokens = StickyTokens()
        self.failure_counts = FailureCounts()
        self.stream_claims = StreamClaims()
        self.renewals = Renewals(self.use_renewed_secret)
        # token id -> [requests, failures] that are not written yet
        self.unwritten_uses: dict[UUID, list[int]] = {}
        # the batches that tokens/pool/state_writer.py is writing
        self.change_batches: NumberedBatches[list[StateChange]] = NumberedBatches()
        self.counter_batches: NumberedBatches[list[UseCount]] = NumberedBatches()

    # --- the path ---------------------------------------------------------------------------------
    def pick_token(
        self,
        upstream: Upstream,
        tried_ids: Collection[UUID],
        preferred_id: UUID | None = None,
        model: str = "",
        *,
        wants_proven: bool = False,
    ) -> PooledToken | None:
        """Pick the provider's next ready token that is not in `tried_ids`, or None.

        `preferred_id` is picked if it is ready. `model` is the upstream's name of the requested
        model. `wants_proven`: tokens on trial come last. A provider in guest mode has no token.
        """
        if upstream.mode == GUEST_MODE:
            return None
        ring = self.find_ring(upstream)
        now = time.monotonic()
        if preferred_id and (entry := ring.pick_by_id(preferred_id, now, tried_ids, model)):
            return entry
        if wants_proven and (entry := ring.pick_token(now, tried_ids, model, wants_proven=True)):
            return entry
        return ring.pick_token(now, tried_ids, model)

    def pick_failing_token(
        self, upstream: Upstream, tried_ids: Collection[UUID]
    ) -> PooledToken | None:
        """Pick a token that is marked as failing, for a request that has no better one."""
        if upstream.mode == GUEST_MODE:
            return None
        return self.find_ring(upstream).pick_failing_token(time.monotonic(), tried_ids)

    def is_asked_anonymously(self, upstream: Upstream) -> bool:
        """Return whether the provider is asked without a credential.

        It is when it is in guest mode, or when it needs no token and has none.
        """
        if upstream.mode == GUEST_MODE:
            return True
        return not upstream.needs_token and not self.find_ring(upstream).entries

    def open_credential(self, entry: PooledToken | None) -> Credential:
        """Return the credential that the adapter shows to the upstream.

        Raises VaultError if the secret cannot be opened.
        """
        if entry is None:
            return Credential(None, "")
        if entry.secret is None:
            entry.secret = vault.decrypt_secret(entry.sealed, str(entry.id))
        return Credential(entry.id, entry.secret)

    def find_health(self, upstream: Upstream) -> ProviderHealth:
        health = self._health.get(upstream.id)
        if health is None:
            health = self._health[upstream.id] = ProviderHealth()
        return health

    def find_breaker(self, upstream: Upstream) -> Breaker:
        return self.find_health(upstream).breaker

    def list_health(self) -> Iterable[tuple[int, ProviderHealth]]:
        """Return the provider id and the health of every provider that was asked."""
        return self._health.items()

    def find_health_by_id(self, provider_id: int) -> ProviderHealth:
        return self._health.setdefault(provider_id, ProviderHealth())

    # --- outcomes of calls ------------------------------------------------------------------------
    def record_first_chunk(self, call: UpstreamCall) -> None:
        consequences.record_first_chunk(self, call)

    def record_answer(self, call: UpstreamCall) -> None:
        consequences.record_answer(self, call)

    def record_error(self, call: UpstreamCall, error: UpstreamError) -> FailedRequest | None:
        return consequences.record_error(self, call, error)

    def record_rejection(self, call: UpstreamCall, entry: PooledToken, sealed: str) -> None:
        consequences.record_rejection(self, call, entry, sealed)

    def record_undecided(self, call: UpstreamCall) -> None:
        consequences.record_undecided(self, call)

    def record_limit(self, call: UpstreamCall, limit: RateLimit) -> None:
        cooldowns.record_limit(self, call, limit)

    # --- facts for error messages -----------------------------------------------------------------
    def find_wait_seconds(self, upstream: Upstream, model: str = "") -> float | None:
        """Return the seconds until the provider's first limited or failing token can be asked."""
        return self.find_ring(upstream).find_wait_seconds(time.monotonic(), model)

    def find_trial_seconds(self, upstream: Upstream, tried_ids: Collection[UUID]) -> float | None:
        """Return the seconds until a token on trial may be asked by others; None without one."""
        return self.find_ring(upstream).find_trial_seconds(time.monotonic(), tried_ids)

    def count_by_state(self, upstream: Upstream, model: str = "") -> TokenCounts:
        """Count the provider's tokens by their present state."""
        ring = self.find_ring(upstream)
        now = time.monotonic()
        counts = ring.count_by_state(now)
        limited_for_model = ring.count_limited_tokens(model, now)
        counts["ready"] -= limited_for_model
        counts["limited"] += limited_for_model
        busy_tokens = self.stream_claims.find_busy_tokens() & ring.entries.keys()
        in_use = min(len(busy_tokens), counts["ready"])
        counts["ready"] -= in_use
        return TokenCounts(len(ring.entries), **counts, in_use=in_use)

    def has_untried_token(
        self, upstream: Upstream, tried_ids: Collection[UUID], model: str
    ) -> bool:
        """Return whether a ready token of the provider is not in `tried_ids`."""
        return self.find_ring(upstream).has_untried_token(time.monotonic(), tried_ids, model)

    def has_other_token(self, upstream: Upstream, entry: PooledToken | None) -> bool:
        """Return whether the provider has a usable token other than this one."""
        if entry is None:
            return False
        return self.find_ring(upstream).has_other_token(entry.id, time.monotonic())

    # --- changes that must be written -------------------------------------------------------------
    def queue_change(self, entry: PooledToken, change: StateChange) -> None:
        """Queue a change of the token's state for the database."""
        entry.unwritten_changes += 1
        self.state_changes.append(change)

    def mark_changes_written(self, changes: Iterable[StateChange]) -> None:
        """Mark these changes as written.

        From then on a row that is read is no longer older than the state in memory.
        """
        for change in changes:
            entry = self._entries.get(change.token_id)
            if entry is not None:
                entry.unwritten_changes -= 1

    def count_use(self, entry: PooledToken, failures: int) -> None:
        """Count one call with the token; `failures` is 1 if it failed, else 0."""
        use_count = self.unwritten_uses.get(entry.id)
        if use_count is None:
            self.unwritten_uses[entry.id] = [1, failures]
        else:
            use_count[0] += 1
            use_count[1] += failures

    # --- failures in a row, as the staff endpoints of the K2Think proxy report them ---------------
    def count_consecutive_failures(self, provider_id: int) -> tuple[int, int, datetime | None]:
        """Return this process's counts of failures in a row at the provider.

        The result is (rejected tokens, other failures, time of the last failure or None).
        """
        failures = self.failure_counts.find_failures(provider_id)
        return failures.rejected_tokens, failures.other_failures, failures.last_at

    def reset_consecutive_failures(self, provider_id: int) -> None:
        self.failure_counts.clear_failures(provider_id)
