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
from providers.choices import Mode
from providers.exceptions import (
    AuthRejected,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from tokens.breaker import Breaker
from tokens.claims import Claims
from tokens.leftovers import Renewed
from tokens.reading import Rows, read
from tokens.renewal import Renewals
from tokens.rings import FOREVER, Entry, Ring
from tokens.troubles import Sticky, Troubles

WHY_SECONDS = 1.0
SLICE = 1_000  # rows taken in before others get a turn
GUEST = Mode.GUEST.value
STRIKE, REST, EXHAUST, BREAK = "strike", "rest", "exhaust", "break"

# what an error does, to the token or (break) to the provider; errors not listed, and those of callers, touch nothing
CONSEQUENCE: dict[type[UpstreamError], str] = {
    AuthRejected: STRIKE,
    RateLimited: REST,
    QuotaExhausted: EXHAUST,
    ProviderError: BREAK,
}


def consequence(error: UpstreamError) -> str | None:
    return next((CONSEQUENCE[kind] for kind in type(error).__mro__ if kind in CONSEQUENCE), None)


@dataclass(frozen=True, slots=True)
class Note:
    """A change of state that must reach the database: which one, with its time and reason."""

    deed: str
    token_id: UUID
    until: datetime | None = None
    reason: str = ""
    cause: str = ""


class Pool:
    shared = True  # its tokens are rows, which others use too

    def __init__(self) -> None:
        self._rings: dict[int, Ring] = {}
        self._entries: dict[UUID, Entry] = {}
        self._rotations: dict[int, str] = {}
        self._breakers: dict[int, Breaker] = {}
        self._whys: dict[int, tuple[float, str]] = {}
        self.max_attempts = settings.MAX_ATTEMPTS
        self.seen = -1  # version of the topic "tokens" that is in force
        self.notes: deque[Note] = deque()
        self.sticky, self.troubles, self.claims, self.renewals = Sticky(), Troubles(), Claims(), Renewals(self.renewed)
        self.used: dict[UUID, list[int]] = {}  # token id -> [requests, failures] since the last writing

    # --- the directory --------------------------------------------------------------------------------------------
    read = staticmethod(read)

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
        token_id, provider_id, sealed, state, strikes, rests_until, expires_at, *more = row
        refresh, account, priority, weight, reason, changed = more
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
        entry.renewable = bool(refresh) or account is not None
        self._lasts(entry, expires_at, now, wall)
        self._ring(provider_id).put(entry, now)

    @staticmethod
    def _lasts(entry: Entry, expires_at: datetime | None, now: float, wall: datetime) -> None:
        """Until when the entry's secret is good; none at all is good for nothing."""
        ends = now + (expires_at - wall).total_seconds() if expires_at else FOREVER
        entry.stale = ends if entry.sealed else 0.0
        entry.expires = FOREVER if entry.renewable else entry.stale

    def renewed(self, token_id: UUID, fresh: Renewed) -> None:
        """The token's row has this secret now; the next reading says the same."""
        entry = self._entries.get(token_id)
        if entry is not None and entry.sealed != fresh.sealed:
            entry.sealed, entry.secret, entry.strikes = fresh.sealed, None, 0
            self._lasts(entry, fresh.expires_at, time.monotonic(), datetime.now(UTC))

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
    def pick(self, upstream: Upstream, tried: Collection[UUID], preferred: UUID | None = None) -> Entry | None:
        """The provider's next ready token that is not in `tried`, or `preferred` if that is one; a guest has none."""
        if upstream.mode == GUEST:
            return None
        ring, now = self.rotate_as(upstream), time.monotonic()
        return (preferred and ring.take(preferred, now, tried)) or ring.pick(now, tried)

    def anonymous(self, upstream: Upstream) -> bool:
        """Whether the provider is asked without a credential: as a guest, or when it needs none and has none."""
        return upstream.mode == GUEST or (not upstream.needs_token and not self.rotate_as(upstream).entries)

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
            if busy := len(self.claims.busy() & self.rotate_as(upstream).entries.keys()):
                text += f", {busy} in use"
            self._whys[upstream.id] = now, text
        return text

    # --- consequences ---------------------------------------------------------------------------------------------
    def succeeded(self, upstream: Upstream, entry: Entry | None, cause: str = "") -> None:
        """The answer ended well; `cause` is the request's id."""
        self.breaker(upstream).answered()
        if self.troubles.known:
            self.troubles.forget(upstream.id)
        if entry is not None:
            self._count(entry, 0)
            entry.rests = 0
            if entry.enabled and (entry.strikes or entry.state == "exhausted"):
                entry.strikes, entry.state = 0, "active"
                self._note(entry, Note("absolve", entry.id, cause=cause))

    def failed(self, upstream: Upstream, entry: Entry | None, error: UpstreamError, cause: str = "") -> None:
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
            self._rejected(upstream, entry, entry.sealed)
            self._strike(entry, error, cause)
        elif deed in (REST, EXHAUST):
            self._rest(entry, error, cause, exhausted=deed == EXHAUST)
        if deed == BREAK:
            self._trouble(upstream, auth=False)

    def rejected(self, upstream: Upstream, entry: Entry, sealed: str) -> None:
        """The upstream rejected what the token had (`sealed`): it is renewed and asked again before it is struck."""
        self.breaker(upstream).answered()
        self._count(entry, 1)
        self._rejected(upstream, entry, sealed)

    def _rejected(self, upstream: Upstream, entry: Entry, sealed: str) -> None:
        if not entry.renewable or entry.rejected != sealed:  # many requests may have shown what is renewed once
            entry.rejected = sealed
            self._trouble(upstream, auth=True)

    def _trouble(self, upstream: Upstream, *, auth: bool) -> None:
        """Count it; two in a row call for new credentials, but not while the provider itself fails."""
        tokens = len(self.rotate_as(upstream).entries)
        wanted = self.troubles.count(upstream.id, auth=auth, tokens=tokens)
        if wanted and self.breaker(upstream).blocked_for(time.monotonic()) is None:
            self.troubles.alarm(upstream.id)

    def consecutive(self, provider_id: int) -> tuple[int, int, datetime | None]:
        """(auth failures in a row, other failures in a row, when the last one was), as this process has seen them."""
        found = self.troubles.of(provider_id)
        return found.auth, found.other, found.last_at

    def reset_consecutive(self, provider_id: int) -> None:
        self.troubles.forget(provider_id)

    def _strike(self, entry: Entry, error: UpstreamError, cause: str) -> None:
        entry.strikes += 1
        if entry.strikes >= settings.MAX_TOKEN_FAILURES:
            entry.state = "disabled"
            self._ring(entry.provider_id).put(entry, time.monotonic())
        self._note(entry, Note(STRIKE, entry.id, reason=f"auth: {error.message}", cause=cause))

    def _rest(self, entry: Entry, error: UpstreamError, cause: str, *, exhausted: bool) -> None:
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
        self._note(entry, Note(deed, entry.id, until, f"{kind}: {error.message}", cause))

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
