"""All tokens in memory: by id, and for each provider in the order of their turns.

Rows of the database are put in force here. The state in memory may be newer than a row that was
read, so unwritten changes of a token are not lost when its row comes.
"""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID

from providers.upstream.base_adapter import Upstream
from tokens.pool.pooled_token import FOREVER, PooledToken
from tokens.pool.rotation import TokenRing
from tokens.pool.token_loader import TokenRow, TokenRows, read_changed_tokens
from tokens.renewal.unsaved_secrets import RenewedSecret

ROWS_PER_SLICE = 1_000  # rows put in force before other tasks of the event loop may run
FIRST_ROTATION = "round_robin"  # until a provider's upstream says which one it has


class TokenDirectory:
    """The tokens in memory, and the rings from which they are picked."""

    read_tokens = staticmethod(read_changed_tokens)

    def __init__(self) -> None:
        self._rings: dict[int, TokenRing] = {}
        self._entries: dict[UUID, PooledToken] = {}
        self._rotations: dict[int, str] = {}
        self.version_in_force = -1  # version of the topic "tokens" that is in force

    # --- rows -------------------------------------------------------------------------------------
    async def apply_rows(self, rows: TokenRows) -> None:
        """Put the rows in force, a slice at a time so that running streams do not wait.

        If `rows` is complete, tokens that are not in it are removed; otherwise those it names as
        deleted.
        """
        self._remove_missing_tokens(rows)
        for start in range(0, len(rows.rows), ROWS_PER_SLICE):
            now = time.monotonic()
            wall_time = datetime.now(UTC)
            for row in rows.rows[start : start + ROWS_PER_SLICE]:
                self._apply_row(row, now, wall_time)
            await asyncio.sleep(0)
        if self.version_in_force < 0:
            self.shuffle_rotations()
        self.version_in_force = rows.version

    def _remove_missing_tokens(self, rows: TokenRows) -> None:
        gone_ids = self._entries.keys() & set(rows.deleted_ids)
        if rows.is_complete:
            gone_ids = self._entries.keys() - {row.id for row in rows.rows}
        for token_id in gone_ids:
            entry = self._entries.pop(token_id)
            self._ensure_ring(entry.provider_id).remove_entry(token_id)

    def shuffle_rotations(self) -> None:
        """Let each rotation begin at a random token.

        Processes that start together then spread their load over the tokens.
        """
        for ring in self._rings.values():
            ring.shuffle_turns()

    def _apply_row(self, row: TokenRow, now: float, wall_time: datetime) -> None:
        """Put one row in force; a token that is known already keeps its count of uses."""
        entry = self._entries.get(row.id)
        if entry is None:
            entry = self._entries[row.id] = PooledToken(row.id, row.provider_id, row.sealed)
        elif entry.row_version == row.changed:
            return
        if entry.provider_id != row.provider_id:
            self._ensure_ring(entry.provider_id).remove_entry(row.id)
            entry.provider_id = row.provider_id
            entry.ring_valid_until = FOREVER
        entry.replace_sealed(row.sealed)
        entry.priority = row.priority
        entry.weight = row.weight
        entry.row_version = row.changed
        entry.is_renewable = bool(row.sealed_refresh) or row.account_id is not None
        _apply_state(entry, row, now, wall_time)
        _set_validity(entry, row.expires_at, now, wall_time)
        self._ensure_ring(row.provider_id).place_entry(entry, now)

    def use_renewed_secret(self, token_id: UUID, renewed: RenewedSecret) -> None:
        """Use the token's renewed secret at once; the next read of its row brings the same one."""
        entry = self._entries.get(token_id)
        if entry is not None and entry.sealed != renewed.sealed:
            entry.replace_sealed(renewed.sealed)
            entry.strikes = 0
            _set_validity(entry, renewed.expires_at, time.monotonic(), datetime.now(UTC))

    # --- rings ------------------------------------------------------------------------------------
    def _ensure_ring(self, provider_id: int) -> TokenRing:
        ring = self._rings.get(provider_id)
        if ring is None:
            ring = TokenRing(self._rotations.get(provider_id, FIRST_ROTATION))
            self._rings[provider_id] = ring
        return ring

    def find_ring(self, upstream: Upstream) -> TokenRing:
        """Return the provider's ring, rebuilt if its rotation was changed."""
        ring = self._rings.get(upstream.id)
        if ring is None or ring.rotation != upstream.rotation:
            self._rotations[upstream.id] = upstream.rotation
            ring = self._rings[upstream.id] = _build_ring(upstream.rotation, ring)
        return ring

    def find_token_ring(self, entry: PooledToken) -> TokenRing:
        return self._ensure_ring(entry.provider_id)

    def move_in_ring(self, entry: PooledToken) -> None:
        """Move the token to the place in its ring that fits its changed state."""
        self._ensure_ring(entry.provider_id).place_entry(entry, time.monotonic())


def _build_ring(rotation: str, old_ring: TokenRing | None) -> TokenRing:
    """Return a ring with this rotation and the tokens of the old ring."""
    ring = TokenRing(rotation)
    if old_ring is not None:
        now = time.monotonic()
        for entry in old_ring.entries.values():
            entry.pool_state = ""
            entry.ring_valid_until = FOREVER  # it is in no ring now
            ring.place_entry(entry, now)
    return ring


def _apply_state(entry: PooledToken, row: TokenRow, now: float, wall_time: datetime) -> None:
    """Give the token the state of its row."""
    rests_until = 0.0
    if row.rests_until is not None:
        rests_until = now + (row.rests_until - wall_time).total_seconds()
    if not entry.unwritten_changes:
        entry.state = row.state
        entry.strikes = row.strikes
        entry.reason = row.reason
        entry.rests_until = rests_until
        entry.is_failing_queued = row.state == "failing"
        return
    # The row may be older or newer than the state in memory, so the stricter of both holds.
    if row.state == "disabled":
        entry.state = row.state
    entry.rests_until = max(entry.rests_until, rests_until)


def _set_validity(
    entry: PooledToken, expires_at: datetime | None, now: float, wall_time: datetime
) -> None:
    """Set until when the entry's secret is valid; an entry without a secret is never valid."""
    entry.fresh_until = FOREVER
    if not entry.sealed:
        entry.fresh_until = 0.0
    elif expires_at is not None:
        entry.fresh_until = now + (expires_at - wall_time).total_seconds()
    entry.valid_until = entry.fresh_until
    if entry.is_renewable:
        entry.valid_until = FOREVER
