"""The in-memory pool of all tokens, which picks the token that is asked next.

The request path only touches memory. `consequences.py` applies an answer or an error to its token
and provider. Changes that must last are noted here and written by `state_writer.py`. Other
processes learn of a written state through `providers.Revision`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any
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
from tokens.pool.pooled_token import FOREVER, PooledToken
from tokens.pool.rotation import TokenRing
from tokens.pool.state_changes import StateChange
from tokens.pool.stream_claims import StreamClaims
from tokens.pool.token_loader import TokenRows, read_changed_tokens
from tokens.pool.written_batches import NumberedBatches
from tokens.renewal.renew_token import Renewals
from tokens.renewal.unsaved_secrets import RenewedSecret
from tokens.token_counts import TokenCounts

ROWS_PER_SLICE = 1_000  # rows put in force before other tasks of the event loop may run
GUEST_MODE = Mode.GUEST.value


class Pool:
    is_shared = True  # its tokens are rows, which other requests use too

    def __init__(self) -> None:
        self._rings: dict[int, TokenRing] = {}
        self._entries: dict[UUID, PooledToken] = {}
        self._rotations: dict[int, str] = {}
        self._health: dict[int, ProviderHealth] = {}
        self.version_in_force = -1  # version of the topic "tokens" that is in force
        self.state_changes: deque[StateChange] = deque()
        self.sticky_tokens = StickyTokens()
        self.failure_counts = FailureCounts()
        self.stream_claims = StreamClaims()
        self.renewals = Renewals(self.use_renewed_secret)
        self.change_batches: NumberedBatches[Any] = (
            NumberedBatches()
        )  # the batches being written by tokens/pool/state_writer.py
        self.counter_batches: NumberedBatches[Any] = NumberedBatches()
        self.unwritten_uses: dict[
            UUID, list[int]
        ] = {}  # token id -> [requests, failures] that are not written yet

    # --- the directory ----------------------------------------------------------------------------
    read_tokens = staticmethod(read_changed_tokens)

    async def apply_rows(self, rows: TokenRows) -> None:
        """Put the rows in force, a slice at a time so that running streams do not wait.

        If `rows` is whole, tokens that are not in it are removed; otherwise those it names as
        deleted.
        """
        gone = (
            self._entries.keys() - {row[0] for row in rows.rows}
            if rows.is_complete
            else set(rows.deleted_ids)
        )
        for token_id in gone & self._entries.keys():
            self._ensure_ring(self._entries.pop(token_id).provider_id).remove_entry(token_id)
        for start in range(0, len(rows.rows), ROWS_PER_SLICE):
            now, wall = time.monotonic(), datetime.now(UTC)
            for row in rows.rows[start : start + ROWS_PER_SLICE]:
                self._apply_row(row, now, wall)
            await asyncio.sleep(0)
        if self.version_in_force < 0:
            self.shuffle_rotations()
        self.version_in_force = rows.version

    def shuffle_rotations(self) -> None:
        """Let each rotation begin at a random token.

        Processes that start together then spread their load over the tokens.
        """
        for ring in self._rings.values():
            ring.shuffle_turns()

    def _apply_row(self, row: tuple[Any, ...], now: float, wall: datetime) -> None:
        """Put one row in force.

        A token that is known already keeps its count of uses and, if its secret is the same, the
        opened secret.
        """
        token_id, provider_id, sealed, state, strikes, rests_until, expires_at, *more = row
        refresh, account, priority, weight, reason, changed = more
        entry = self._entries.get(token_id)
        if entry is not None and entry.row_version == changed:
            return
        if entry is not None and entry.provider_id != provider_id:
            self._ensure_ring(entry.provider_id).remove_entry(token_id)
            entry.provider_id = provider_id
            entry.ring_valid_until = FOREVER
        if entry is None:
            entry = self._entries[token_id] = PooledToken(token_id, provider_id, sealed)
        elif entry.sealed != sealed:
            entry.sealed = sealed
            entry.secret = None
        entry.priority = priority
        entry.weight = weight
        entry.row_version = changed
        rests = now + (rests_until - wall).total_seconds() if rests_until else 0.0
        if not entry.unwritten_changes:
            entry.state = state
            entry.strikes = strikes
            entry.reason = reason
            entry.rests_until = rests
            entry.is_failing_queued = state == "failing"
        # the row may be older or newer than the state in memory, so the stricter of both holds
        else:
            entry.state = state if state == "disabled" else entry.state
            entry.rests_until = max(entry.rests_until, rests)
        entry.is_renewable = bool(refresh) or account is not None
        self._set_validity(entry, expires_at, now, wall)
        self._ensure_ring(provider_id).place_entry(entry, now)

    @staticmethod
    def _set_validity(
        entry: PooledToken, expires_at: datetime | None, now: float, wall: datetime
    ) -> None:
        """Set until when the entry's secret is valid; an entry without a secret is never valid."""
        ends = now + (expires_at - wall).total_seconds() if expires_at else FOREVER
        entry.fresh_until = ends if entry.sealed else 0.0
        entry.valid_until = FOREVER if entry.is_renewable else entry.fresh_until

    def use_renewed_secret(self, token_id: UUID, fresh: RenewedSecret) -> None:
        """Use the token's renewed secret at once; the next read of its row brings the same one."""
        entry = self._entries.get(token_id)
        if entry is not None and entry.sealed != fresh.sealed:
            entry.sealed = fresh.sealed
            entry.secret = None
            entry.strikes = 0
            self._set_validity(entry, fresh.expires_at, time.monotonic(), datetime.now(UTC))

    def _ensure_ring(self, provider_id: int) -> TokenRing:
        ring = self._rings.get(provider_id)
        if ring is None:
            ring = self._rings[provider_id] = TokenRing(
                self._rotations.get(provider_id, "round_robin")
            )
        return ring

    def find_ring(self, upstream: Upstream) -> TokenRing:
        """Return the provider's ring, rebuilt if its rotation was changed."""
        ring = self._rings.get(upstream.id)
        if ring is None or ring.rotation != upstream.rotation:
            self._rotations[upstream.id] = upstream.rotation
            old = ring
            now = time.monotonic()
            ring = self._rings[upstream.id] = TokenRing(upstream.rotation)
            for entry in old.entries.values() if old else ():
                entry.pool_state = ""
                entry.ring_valid_until = FOREVER  # it is in no ring now
                ring.place_entry(entry, now)
        return ring

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
        return upstream.mode == GUEST_MODE or (
            not upstream.needs_token and not self.find_ring(upstream).entries
        )

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
        by_standing = ring.count_by_state(now)
        limited_here = ring.count_limited_tokens(model, now)
        by_standing["ready"] -= limited_here
        by_standing["limited"] += limited_here
        in_use = min(
            len(self.stream_claims.find_busy_tokens() & ring.entries.keys()), by_standing["ready"]
        )
        by_standing["ready"] -= in_use
        return TokenCounts(len(ring.entries), **by_standing, in_use=in_use)

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
        """Mark these notes as written.

        From then on a row that is read is no longer older than the state in memory.
        """
        for note in changes:
            entry = self._entries.get(note.token_id)
            if entry is not None:
                entry.unwritten_changes -= 1

    def count_use(self, entry: PooledToken, failures: int) -> None:
        """Count one call with the token; `failures` is 1 if it failed, else 0."""
        counted = self.unwritten_uses.get(entry.id)
        if counted is None:
            self.unwritten_uses[entry.id] = [1, failures]
        else:
            counted[0] += 1
            counted[1] += failures

    def move_in_ring(self, entry: PooledToken) -> None:
        """Move the token to the place in its ring that fits its changed state."""
        self._ensure_ring(entry.provider_id).place_entry(entry, time.monotonic())

    def find_token_ring(self, entry: PooledToken) -> TokenRing:
        return self._ensure_ring(entry.provider_id)

    # --- failures in a row, as the staff endpoints of the K2Think proxy report them ---------------
    def count_consecutive_failures(self, provider_id: int) -> tuple[int, int, datetime | None]:
        """Return this process's counts of failures in a row at the provider.

        The result is (rejected tokens, other failures, time of the last failure or None).
        """
        found = self.failure_counts.find_failures(provider_id)
        return found.rejected_tokens, found.other_failures, found.last_at

    def reset_consecutive_failures(self, provider_id: int) -> None:
        self.failure_counts.clear_failures(provider_id)
