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
from providers.upstream.rate_limits import Limit
from tokens.outcomes import consequences, cooldowns
from tokens.outcomes.breaker import Breaker, FailedRequest
from tokens.outcomes.provider_health import Health
from tokens.outcomes.upstream_call import Call
from tokens.pool.failure_counts import Sticky, Troubles
from tokens.pool.pooled_token import FOREVER, Entry
from tokens.pool.rotation import Ring
from tokens.pool.state_changes import Note
from tokens.pool.stream_claims import Claims
from tokens.pool.token_loader import Rows, read
from tokens.pool.written_batches import Batches
from tokens.renewal.renew_token import Renewals
from tokens.renewal.unsaved_secrets import Renewed
from tokens.token_counts import TokenCounts

SLICE = 1_000  # rows put in force before other tasks of the event loop may run
GUEST = Mode.GUEST.value


class Pool:
    shared = True  # its tokens are rows, which other requests use too

    def __init__(self) -> None:
        self._rings: dict[int, Ring] = {}
        self._entries: dict[UUID, Entry] = {}
        self._rotations: dict[int, str] = {}
        self._health: dict[int, Health] = {}
        self.seen = -1  # version of the topic "tokens" that is in force
        self.notes: deque[Note] = deque()
        self.sticky = Sticky()
        self.troubles = Troubles()
        self.claims = Claims()
        self.renewals = Renewals(self.renewed)
        self.note_batches: Batches[Any] = (
            Batches()
        )  # the batches being written by tokens/pool/state_writer.py
        self.counter_batches: Batches[Any] = Batches()
        self.used: dict[
            UUID, list[int]
        ] = {}  # token id -> [requests, failures] that are not written yet

    # --- the directory ----------------------------------------------------------------------------
    read = staticmethod(read)

    async def take(self, rows: Rows) -> None:
        """Put the rows in force, a slice at a time so that running streams do not wait.

        If `rows` is whole, tokens that are not in it are removed; otherwise those it names as
        deleted.
        """
        gone = (
            self._entries.keys() - {row[0] for row in rows.rows}
            if rows.whole
            else set(rows.deleted)
        )
        for token_id in gone & self._entries.keys():
            self._ring(self._entries.pop(token_id).provider_id).remove(token_id)
        for start in range(0, len(rows.rows), SLICE):
            now, wall = time.monotonic(), datetime.now(UTC)
            for row in rows.rows[start : start + SLICE]:
                self._take(row, now, wall)
            await asyncio.sleep(0)
        if self.seen < 0:
            self.shuffle()
        self.seen = rows.version

    def shuffle(self) -> None:
        """Let each rotation begin at a random token.

        Processes that start together then spread their load over the tokens.
        """
        for ring in self._rings.values():
            ring.shuffle()

    def _take(self, row: tuple[Any, ...], now: float, wall: datetime) -> None:
        """Put one row in force.

        A token that is known already keeps its count of uses and, if its secret is the same, the
        opened secret.
        """
        token_id, provider_id, sealed, state, strikes, rests_until, expires_at, *more = row
        refresh, account, priority, weight, reason, changed = more
        entry = self._entries.get(token_id)
        if entry is not None and entry.changed == changed:
            return
        if entry is not None and entry.provider_id != provider_id:
            self._ring(entry.provider_id).remove(token_id)
            entry.provider_id = provider_id
            entry.expiry_watched = FOREVER
        if entry is None:
            entry = self._entries[token_id] = Entry(token_id, provider_id, sealed)
        elif entry.sealed != sealed:
            entry.sealed = sealed
            entry.secret = None
        entry.priority = priority
        entry.weight = weight
        entry.changed = changed
        rests = now + (rests_until - wall).total_seconds() if rests_until else 0.0
        if not entry.unwritten:
            entry.state = state
            entry.strikes = strikes
            entry.reason = reason
            entry.rests_until = rests
            entry.is_noted = state == "failing"
        # the row may be older or newer than the state in memory, so the stricter of both holds
        else:
            entry.state = state if state == "disabled" else entry.state
            entry.rests_until = max(entry.rests_until, rests)
        entry.renewable = bool(refresh) or account is not None
        self._lasts(entry, expires_at, now, wall)
        self._ring(provider_id).put(entry, now)

    @staticmethod
    def _lasts(entry: Entry, expires_at: datetime | None, now: float, wall: datetime) -> None:
        """Set until when the entry's secret is valid; an entry without a secret is never valid."""
        ends = now + (expires_at - wall).total_seconds() if expires_at else FOREVER
        entry.stale = ends if entry.sealed else 0.0
        entry.expires = FOREVER if entry.renewable else entry.stale

    def renewed(self, token_id: UUID, fresh: Renewed) -> None:
        """Use the token's renewed secret at once; the next read of its row brings the same one."""
        entry = self._entries.get(token_id)
        if entry is not None and entry.sealed != fresh.sealed:
            entry.sealed = fresh.sealed
            entry.secret = None
            entry.strikes = 0
            self._lasts(entry, fresh.expires_at, time.monotonic(), datetime.now(UTC))

    def _ring(self, provider_id: int) -> Ring:
        ring = self._rings.get(provider_id)
        if ring is None:
            ring = self._rings[provider_id] = Ring(self._rotations.get(provider_id, "round_robin"))
        return ring

    def rotate_as(self, upstream: Upstream) -> Ring:
        """Return the provider's ring, rebuilt if its rotation was changed."""
        ring = self._rings.get(upstream.id)
        if ring is None or ring.rotation != upstream.rotation:
            self._rotations[upstream.id] = upstream.rotation
            old = ring
            now = time.monotonic()
            ring = self._rings[upstream.id] = Ring(upstream.rotation)
            for entry in old.entries.values() if old else ():
                entry.standing = ""
                entry.expiry_watched = FOREVER  # it is in no ring now
                ring.put(entry, now)
        return ring

    # --- the path ---------------------------------------------------------------------------------
    def pick(
        self,
        upstream: Upstream,
        tried: Collection[UUID],
        preferred: UUID | None = None,
        model: str = "",
        *,
        proven: bool = False,
    ) -> Entry | None:
        """Pick the provider's next ready token that is not in `tried`, or None.

        `preferred` is picked if it is ready. `model` is the upstream's name of the requested model.
        `proven`: tokens on trial come last. A provider in guest mode has no token.
        """
        if upstream.mode == GUEST:
            return None
        ring = self.rotate_as(upstream)
        now = time.monotonic()
        if preferred and (entry := ring.take(preferred, now, tried, model)):
            return entry
        if proven and (entry := ring.pick(now, tried, model, proven=True)):
            return entry
        return ring.pick(now, tried, model)

    def pick_failing(self, upstream: Upstream, tried: Collection[UUID]) -> Entry | None:
        """Pick a token that is marked as failing, for a request that has no better one."""
        if upstream.mode == GUEST:
            return None
        return self.rotate_as(upstream).pick_failing(time.monotonic(), tried)

    def anonymous(self, upstream: Upstream) -> bool:
        """Return whether the provider is asked without a credential.

        It is when it is in guest mode, or when it needs no token and has none.
        """
        return upstream.mode == GUEST or (
            not upstream.needs_token and not self.rotate_as(upstream).entries
        )

    def credential(self, entry: Entry | None) -> Credential:
        """Return the credential that the adapter shows to the upstream.

        Raises VaultError if the secret cannot be opened.
        """
        if entry is None:
            return Credential(None, "")
        if entry.secret is None:
            entry.secret = vault.unseal(entry.sealed, str(entry.id))
        return Credential(entry.id, entry.secret)

    def health(self, upstream: Upstream) -> Health:
        health = self._health.get(upstream.id)
        if health is None:
            health = self._health[upstream.id] = Health()
        return health

    def breaker(self, upstream: Upstream) -> Breaker:
        return self.health(upstream).breaker

    def known_health(self) -> Iterable[tuple[int, Health]]:
        """Return the provider id and the health of every provider that was asked."""
        return self._health.items()

    def health_of(self, provider_id: int) -> Health:
        return self._health.setdefault(provider_id, Health())

    # --- outcomes of calls ------------------------------------------------------------------------
    def record_first_chunk(self, call: Call) -> None:
        consequences.record_first_chunk(self, call)

    def record_answer(self, call: Call) -> None:
        consequences.record_answer(self, call)

    def record_error(self, call: Call, error: UpstreamError) -> FailedRequest | None:
        return consequences.record_error(self, call, error)

    def record_rejected(self, call: Call, entry: Entry, sealed: str) -> None:
        consequences.record_rejected(self, call, entry, sealed)

    def record_undecided(self, call: Call) -> None:
        consequences.record_undecided(self, call)

    def record_limit(self, call: Call, limit: Limit) -> None:
        cooldowns.record_limit(self, call, limit)

    # --- facts for error messages -----------------------------------------------------------------
    def wakes_in(self, upstream: Upstream, model: str = "") -> float | None:
        """Return the seconds until the provider's first limited or failing token can be asked."""
        return self.rotate_as(upstream).wakes_in(time.monotonic(), model)

    def held_for(self, upstream: Upstream, tried: Collection[UUID]) -> float | None:
        """Return the seconds until a token on trial may be asked by others; None without one."""
        return self.rotate_as(upstream).held_for(time.monotonic(), tried)

    def counts(self, upstream: Upstream, model: str = "") -> TokenCounts:
        """Count the provider's tokens by their present state."""
        ring = self.rotate_as(upstream)
        now = time.monotonic()
        by_standing = ring.counts(now)
        limited_here = ring.limited_for(model, now)
        by_standing["ready"] -= limited_here
        by_standing["limited"] += limited_here
        in_use = min(len(self.claims.busy() & ring.entries.keys()), by_standing["ready"])
        by_standing["ready"] -= in_use
        return TokenCounts(len(ring.entries), **by_standing, in_use=in_use)

    def has_untried(self, upstream: Upstream, tried: Collection[UUID], model: str) -> bool:
        """Return whether a ready token of the provider is not in `tried`."""
        return self.rotate_as(upstream).has_untried(time.monotonic(), tried, model)

    def has_other(self, upstream: Upstream, entry: Entry | None) -> bool:
        """Return whether the provider has a usable token other than this one."""
        if entry is None:
            return False
        return self.rotate_as(upstream).has_other(entry.id, time.monotonic())

    # --- changes that must be written -------------------------------------------------------------
    def note(self, entry: Entry, note: Note) -> None:
        """Queue a change of the token's state for the database."""
        entry.unwritten += 1
        self.notes.append(note)

    def written(self, notes: Iterable[Note]) -> None:
        """Mark these notes as written.

        From then on a row that is read is no longer older than the state in memory.
        """
        for note in notes:
            entry = self._entries.get(note.token_id)
            if entry is not None:
                entry.unwritten -= 1

    def count_use(self, entry: Entry, failures: int) -> None:
        """Count one call with the token; `failures` is 1 if it failed, else 0."""
        counted = self.used.get(entry.id)
        if counted is None:
            self.used[entry.id] = [1, failures]
        else:
            counted[0] += 1
            counted[1] += failures

    def replace(self, entry: Entry) -> None:
        """Move the token to the place in its ring that fits its changed state."""
        self._ring(entry.provider_id).put(entry, time.monotonic())

    def ring_of(self, entry: Entry) -> Ring:
        return self._ring(entry.provider_id)

    # --- failures in a row, as the staff endpoints of the K2Think proxy report them ---------------
    def consecutive(self, provider_id: int) -> tuple[int, int, datetime | None]:
        """Return this process's counts of failures in a row at the provider.

        The result is (rejected tokens, other failures, time of the last failure or None).
        """
        found = self.troubles.of(provider_id)
        return found.auth, found.other, found.last_at

    def reset_consecutive(self, provider_id: int) -> None:
        self.troubles.forget(provider_id)
