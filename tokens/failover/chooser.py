"""Choose the candidate and token that a request calls next, from one view of the streams in use."""

import time
from collections.abc import Sequence, Set
from typing import NamedTuple
from uuid import UUID

from providers.catalogue import Candidate
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from providers.upstream.base_adapter import Upstream
from tokens.failover.tries import ANONYMOUS, Tries
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import Entry


class Choice(NamedTuple):
    """The candidate and token to call next.

    `entry` is None for a call without a token. `rejected` is the secret (sealed) that the token had
    when it was rejected before.
    """

    candidate: Candidate
    entry: Entry | None
    rejected: str | None = None


NOBODY: frozenset[UUID] = frozenset()


class Chooser:
    """The choices of one request.

    After `choose`, `is_contested` and `tokens_wait` say why a token could not be chosen.
    """

    __slots__ = ("_pool", "_request", "_skipped", "_trace", "_tries", "is_contested", "tokens_wait")

    def __init__(self, request: ChatRequest, pool: Pool, trace: Trace, tries: Tries) -> None:
        self._request = request
        self._pool = pool
        self._trace = trace
        self._tries = tries
        self._skipped = False
        self.is_contested = self.tokens_wait = False

    def has_single_streams(self, candidates: Sequence[Candidate]) -> bool:
        """Return whether a candidate's tokens allow one stream at a time, which must be claimed."""
        return self._pool.shared and any(
            candidate.adapter.one_at_a_time for candidate in candidates
        )

    def choose(self, candidates: Sequence[Candidate]) -> Choice | None:
        """Return the next candidate with a token not yet tried; providers that failed come last.

        Sets `is_contested` if tokens are missing only because their single stream is in use, and
        `tokens_wait` if they are on trial. All of it comes from one view of the streams in use.
        """
        busy = self._pool.claims.busy() if self.has_single_streams(candidates) else NOBODY
        self.is_contested = self.tokens_wait = False
        order = (
            sorted(candidates, key=self._tries.failed.count) if self._tries.failed else candidates
        )
        is_first = self._tries.last is None and not self._skipped
        for candidate in order:
            found = self._choose_of(candidate, busy, is_first=is_first)
            if found is not None:
                return found
        return self._choose_failing(order, busy)

    def _choose_of(self, candidate: Candidate, busy: Set[UUID], *, is_first: bool) -> Choice | None:
        pool = self._pool
        upstream = candidate.adapter.upstream
        if upstream.id in self._tries.unaffordable:
            return None
        now = time.monotonic()
        blocked = pool.breaker(upstream).blocked_for(now, self._trace.user_id, candidate.model.name)
        if blocked is None:
            tried = self._not_to_ask(candidate, busy)
            preferred = None
            if self._request.conversation or self._request.resume:
                preferred = self._preferred(upstream)
            entry = pool.pick(
                upstream, tried, preferred, candidate.model.name, proven=bool(self._tries.tokens)
            )
            if entry is not None:
                return Choice(candidate, entry)
            if ANONYMOUS not in self._tries.tokens and pool.anonymous(upstream):
                return Choice(candidate, None)
            self._note_who_waits(candidate, busy)
        if is_first:
            self._note_skipped(candidate, blocked)
        return None

    def _not_to_ask(self, candidate: Candidate, busy: Set[UUID]) -> Set[UUID]:
        return self._tries.tokens | busy if candidate.adapter.one_at_a_time else self._tries.tokens

    def _note_who_waits(self, candidate: Candidate, busy: Set[UUID]) -> None:
        pool = self._pool
        upstream = candidate.adapter.upstream
        if candidate.adapter.one_at_a_time:
            wanted = busy - self._tries.tokens
            if not wanted.isdisjoint(pool.rotate_as(upstream).entries):
                self.is_contested = True
        if pool.held_for(upstream, self._tries.tokens) is not None:
            self.tokens_wait = True

    def _note_skipped(self, candidate: Candidate, blocked: float | None) -> None:
        """Note a candidate that cannot be called in the trace, once per request."""
        upstream = candidate.adapter.upstream
        name = candidate.model.name
        breaker = self._pool.breaker(upstream)
        if blocked is None:
            reason = str(self._pool.counts(upstream, name))
        else:
            reason = f"breaker open for {blocked:.1f} s: {breaker.reason}"
        self._trace.attempt(upstream.name, name).end("skipped", reason)
        self._skipped = True

    def _choose_failing(self, order: Sequence[Candidate], busy: Set[UUID]) -> Choice | None:
        """Return a token marked as failing, of a provider that has not failed this request yet.

        A token is marked by our own judgement, so the mark alone must not make a request fail.
        """
        if self.is_contested or self.tokens_wait:
            return None
        for candidate in order:
            upstream = candidate.adapter.upstream
            if candidate in self._tries.failed or upstream.id in self._tries.unaffordable:
                continue
            blocked = self._pool.breaker(upstream).blocked_for(
                time.monotonic(), self._trace.user_id, candidate.model.name
            )
            if blocked is None:
                entry = self._pool.pick_failing(upstream, self._not_to_ask(candidate, busy))
                if entry is not None:
                    return Choice(candidate, entry)
        return None

    def _preferred(self, upstream: Upstream) -> UUID | None:
        """Return the token that already has the conversation, at the upstream or by our choice."""
        resume = self._request.resume
        if resume:
            return resume.token_id
        return self._pool.sticky.token(self._request.conversation, upstream.id)
