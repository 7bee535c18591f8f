"""The in-memory pool of all tokens: pick one, and apply to it what an upstream's answer means.

The path only touches memory. What must last (a strike, a rest, an exhausted quota) is noted and written by `books.py`
at once; counters are written in batches. Other processes learn of a written state through `providers.Revision`.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from providers import vault
from providers.base import Upstream
from providers.chat import Credential
from providers.exceptions import (
    AuthRejected,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from providers.models import Revision
from tokens.breaker import Breaker
from tokens.models import UpstreamToken
from tokens.rings import FOREVER, Entry, Ring

WHY_SECONDS = 1.0
SLICE = 1_000  # rows taken in before others get a turn
STRIKE, REST, EXHAUST, BREAK = "strike", "rest", "exhaust", "break"

# what an error does, to the token or (break) to the provider; errors not listed, and those of callers, touch nothing
CONSEQUENCE: dict[type[UpstreamError], str] = {
    AuthRejected: STRIKE,
    RateLimited: REST,
    QuotaExhausted: EXHAUST,
    ProviderError: BREAK,
}
COLUMNS = (
    "id",
    "provider_id",
    "sealed",
    "state",
    "strikes",
    "rests_until",
    "expires_at",
    "priority",
    "weight",
    "reason",
    "changed",
)


def consequence(error: UpstreamError) -> str | None:
    return next((CONSEQUENCE[kind] for kind in type(error).__mro__ if kind in CONSEQUENCE), None)


@dataclass(frozen=True, slots=True)
class Note:
    """A change of state that must reach the database: which one, with its time and reason."""

    deed: str
    token_id: UUID
    until: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """What one reading brought: all tokens, or those changed since the version seen before."""

    version: int
    whole: bool
    rows: list[tuple[Any, ...]]


class Pool:
    def __init__(self) -> None:
        self._rings: dict[int, Ring] = {}
        self._entries: dict[UUID, Entry] = {}
        self._rotations: dict[int, str] = {}
        self._breakers: dict[int, Breaker] = {}
        self._whys: dict[int, tuple[float, str]] = {}
        self.max_attempts = settings.MAX_ATTEMPTS
        self.seen = -1  # version of the topic "tokens" that is in force
        self.notes: deque[Note] = deque()
        self.used: dict[UUID, list[int]] = {}  # token id -> [requests, failures] since the last writing

    # --- the directory --------------------------------------------------------------------------------------------
    @staticmethod
    def read(seen: int) -> Rows:
        """The tokens that changed since version `seen`, all of them when that cannot be told; in a database thread."""
        revision = Revision.objects.filter(topic="tokens").first()
        version, floor = (revision.version, revision.floor) if revision else (0, 0)
        whole = seen < 0 or seen < floor or seen > version
        tokens = UpstreamToken.objects.order_by()
        if not whole:
            tokens = tokens.filter(changed__gt=seen)
        return Rows(version, whole, list(tokens.values_list(*COLUMNS).iterator(10_000)))

    async def take(self, rows: Rows) -> None:
        """Put what was read in force, a slice at a time so that running streams do not wait."""
        if rows.whole:
            for gone in self._entries.keys() - {row[0] for row in rows.rows}:
                self._ring(self._entries.pop(gone).provider_id).remove(gone)
        for start in range(0, len(rows.rows), SLICE):
            now, wall = time.monotonic(), datetime.now(UTC)
            for row in rows.rows[start : start + SLICE]:
                self._take(row, now, wall)
            await asyncio.sleep(0)
        self.seen = rows.version

    def _take(self, row: tuple[Any, ...], now: float, wall: datetime) -> None:
        """One row; an entry that stays keeps its uses and, with the same secret, the opened one."""
        token_id, provider_id, sealed, state, strikes, rests_until, expires_at, priority, weight, reason, changed = row
        entry = self._entries.get(token_id)
        if entry is not None and entry.changed == changed:
            return
        if entry is not None and entry.provider_id != provider_id:
            self._ring(entry.provider_id).remove(token_id)
            entry.provider_id = provider_id
        if entry is None:
            entry = self._entries[token_id] = Entry(token_id, provider_id, sealed)
        elif entry.sealed != sealed:
            entry.sealed, entry.secret = sealed, None
        entry.priority, entry.weight, entry.changed = priority, weight, changed
        rests = now + (rests_until - wall).total_seconds() if rests_until else 0.0
        if not entry.unwritten:
            entry.state, entry.strikes, entry.reason, entry.rests_until = state, strikes, reason, rests
        else:  # the row is older than what is known here, and may be newer too: the stricter of both holds
            entry.state = state if state == "disabled" else entry.state
            entry.rests_until = max(entry.rests_until, rests)
        entry.expires = now + (expires_at - wall).total_seconds() if expires_at else FOREVER
        self._ring(provider_id).put(entry, now)

    def _ring(self, provider_id: int) -> Ring:
        ring = self._rings.get(provider_id)
        if ring is None:
            ring = self._rings[provider_id] = Ring(self._rotations.get(provider_id, "round_robin"))
        return ring

    def rotate_as(self, upstream: Upstream) -> Ring:
        """The provider's ring, rebuilt when its rotation was changed."""
        ring = self._rings.get(upstream.id)
        if ring is None or ring.rotation != upstream.rotation:
            self._rotations[upstream.id] = upstream.rotation
            old, now = ring, time.monotonic()
            ring = self._rings[upstream.id] = Ring(upstream.rotation)
            for entry in old.entries.values() if old else ():
                ring.put(entry, now)
        return ring

    # --- the path -------------------------------------------------------------------------------------------------
    def pick(self, upstream: Upstream, tried: Collection[UUID]) -> Entry | None:
        """The provider's next ready token that is not among `tried`."""
        return self.rotate_as(upstream).pick(time.monotonic(), tried)

    def anonymous(self, upstream: Upstream) -> bool:
        """Whether the provider is asked without a credential: it needs none and has none."""
        return not upstream.needs_token and not self.rotate_as(upstream).entries

    def credential(self, entry: Entry | None) -> Credential:
        """What the adapter shows to the upstream. Raises VaultError when the secret cannot be opened."""
        if entry is None:
            return Credential(None, "")
        if entry.secret is None:
            entry.secret = vault.unseal(entry.sealed, str(entry.id))
        return Credential(entry.id, entry.secret)

    def breaker(self, upstream: Upstream) -> Breaker:
        breaker = self._breakers.get(upstream.id)
        if breaker is None:
            breaker = self._breakers[upstream.id] = Breaker(settings.BREAKER_FAILURES, settings.BREAKER_SECONDS)
        return breaker

    def wakes_in(self, upstream: Upstream) -> float | None:
        """Seconds until the provider's first resting token wakes; None when none rests."""
        return self.rotate_as(upstream).wakes_in(time.monotonic())

    def why_none(self, upstream: Upstream) -> str:
        """Why no token of the provider could be picked, in a few words for traces and errors; counted once a second."""
        now = time.monotonic()
        counted_at, text = self._whys.get(upstream.id, (0.0, ""))
        if now - counted_at > WHY_SECONDS:
            entries = self.rotate_as(upstream).entries.values()
            disabled = sum(not entry.enabled or entry.expires <= now for entry in entries)
            resting = sum(entry.enabled and entry.rests_until > now for entry in entries)
            text = f"{len(entries)} tokens: {resting} resting, {disabled} disabled or expired"
            self._whys[upstream.id] = now, text
        return text

    # --- consequences ---------------------------------------------------------------------------------------------
    def succeeded(self, upstream: Upstream, entry: Entry | None) -> None:
        """The answer ended well."""
        self.breaker(upstream).answered()
        if entry is not None:
            self._count(entry, 0)
            entry.rests = 0
            if entry.enabled and (entry.strikes or entry.state == "exhausted"):
                entry.strikes, entry.state = 0, "active"
                self._note(entry, Note("absolve", entry.id))

    def failed(self, upstream: Upstream, entry: Entry | None, error: UpstreamError) -> None:
        """Apply the CONSEQUENCE of `error`."""
        deed = consequence(error)
        if deed == BREAK:
            self.breaker(upstream).failed(time.monotonic())
        else:
            self.breaker(upstream).answered()
        if entry is None:
            return
        self._count(entry, int(deed is not None))
        if deed == STRIKE:
            self._strike(entry, error)
        elif deed in (REST, EXHAUST):
            self._rest(entry, error, exhausted=deed == EXHAUST)

    def _strike(self, entry: Entry, error: UpstreamError) -> None:
        entry.strikes += 1
        if entry.strikes >= settings.MAX_TOKEN_FAILURES:
            entry.state = "disabled"
            self._ring(entry.provider_id).put(entry, time.monotonic())
        self._note(entry, Note(STRIKE, entry.id, reason=f"auth: {error.message}"))

    def _rest(self, entry: Entry, error: UpstreamError, *, exhausted: bool) -> None:
        now = time.monotonic()
        seconds = error.retry_after_seconds
        if not entry.enabled:
            return
        if seconds is None:
            if entry.rests_until > now and (entry.state == "exhausted" or not exhausted):
                return  # several answers of one window escalate once
            seconds = settings.QUOTA_REST_SECONDS if exhausted else settings.REST_SECONDS * 2 ** min(entry.rests, 10)
            entry.rests += 1
        longest = (
            max(settings.QUOTA_REST_SECONDS, settings.MAX_REST_SECONDS) if exhausted else settings.MAX_REST_SECONDS
        )
        seconds = min(max(seconds, 1.0), longest)
        seconds += random.random() * min(1.0, seconds / 10)  # noqa: S311 - not all at the same moment
        entry.state = "exhausted" if exhausted else entry.state
        entry.rests_until = max(entry.rests_until, now + seconds)
        self._ring(entry.provider_id).put(entry, now)
        deed, kind = (EXHAUST, "quota") if exhausted else (REST, "rate limit")
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        self._note(entry, Note(deed, entry.id, until, f"{kind}: {error.message}"))

    def _note(self, entry: Entry, note: Note) -> None:
        entry.unwritten += 1
        self.notes.append(note)

    def written(self, notes: Iterable[Note]) -> None:
        """These notes are in the database now: what is read of their tokens is no longer older than what is known."""
        for note in notes:
            entry = self._entries.get(note.token_id)
            if entry is not None:
                entry.unwritten -= 1

    def _count(self, entry: Entry, failures: int) -> None:
        counted = self.used.get(entry.id)
        if counted is None:
            self.used[entry.id] = [1, failures]
        else:
            counted[0] += 1
            counted[1] += failures
