"""Choose the candidate and token that a request calls next, from one view of the streams in use."""

import time
from collections.abc import Sequence, Set
from typing import NamedTuple
from uuid import UUID

from providers.catalogue import Candidate
from providers.protocol.attempt import SKIPPED
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from providers.upstream.base_adapter import Upstream
from tokens.failover.tries import NO_TOKEN_ID, Tries
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken


class Choice(NamedTuple):
    """The candidate and token to call next.

    `entry` is None for a call without a token. `rejected_secret` is the secret (sealed) that the
    token had when it was rejected before.
    """

    candidate: Candidate
    entry: PooledToken | None
    rejected_secret: str | None = None


NO_TOKENS: frozenset[UUID] = frozenset()


class Chooser:
    """The choices of one request.

    After `choose_next`, `has_busy_tokens` and `has_tokens_on_trial` say why a token could not be
    chosen.
    """

    __slots__ = (
        "_has_recorded_skip",
        "_pool",
        "_request",
        "_trace",
        "_tries",
        "has_busy_tokens",
        "has_tokens_on_trial",
    )

    def __init__(self, request: ChatRequest, pool: Pool, trace: Trace, tries: Tries) -> None:
        self._request = request
        self._pool = pool
        self._trace = trace
        self._tries = tries
        self._has_recorded_skip = False
        self.has_busy_tokens = self.has_tokens_on_trial = False

    def has_single_streams(self, candidates: Sequence[Candidate]) -> bool:
        """Return whether a candidate's tokens allow one stream at a time, which must be claimed."""
        if not self._pool.is_shared:
            return False
        for candidate in candidates:  # noqa: SIM110 - a generator would cost each request more
            if candidate.adapter.has_single_stream:
                return True
        return False

    def choose_next(self, candidates: Sequence[Candidate]) -> Choice | None:
        """Return the next candidate with a token not yet tried; providers that failed come last.

        Sets `has_busy_tokens` if tokens are missing only because their single stream is in use, and
        `has_tokens_on_trial` if they are on trial. All of it comes from one view of the streams in
        use.
        """
        busy = (
            self._pool.stream_claims.find_busy_tokens()
            if self.has_single_streams(candidates)
            else NO_TOKENS
        )
        self.has_busy_tokens = self.has_tokens_on_trial = False
        order = (
            sorted(candidates, key=self._tries.failed_candidates.count)
            if self._tries.failed_candidates
            else candidates
        )
        is_first = self._tries.last_error is None and not self._has_recorded_skip
        for candidate in order:
            found = self._choose_token_of(candidate, busy, is_first=is_first)
            if found is not None:
                return found
        return self._choose_failing_token(order, busy)

    def _choose_token_of(
        self, candidate: Candidate, busy: Set[UUID], *, is_first: bool
    ) -> Choice | None:
        pool = self._pool
        upstream = candidate.adapter.upstream
        if upstream.id in self._tries.exhausted_budget_ids:
            return None
        now = time.monotonic()
        blocked = pool.find_breaker(upstream).find_blocked_seconds(
            now, self._trace.user_id, candidate.model.name
        )
        if blocked is None:
            tried = self._list_skipped_tokens(candidate, busy)
            preferred = None
            if self._request.conversation or self._request.resume:
                preferred = self._find_preferred_token(upstream)
            entry = pool.pick_token(
                upstream,
                tried,
                preferred,
                candidate.model.name,
                wants_proven=bool(self._tries.failed_token_ids),
            )
            if entry is not None:
                return Choice(candidate, entry)
            if NO_TOKEN_ID not in self._tries.failed_token_ids and pool.is_asked_anonymously(
                upstream
            ):
                return Choice(candidate, None)
            self._record_waiting_tokens(candidate, busy)
        if is_first:
            self._record_skipped_candidate(candidate, blocked)
        return None

    def _list_skipped_tokens(self, candidate: Candidate, busy: Set[UUID]) -> Set[UUID]:
        return (
            self._tries.failed_token_ids | busy
            if candidate.adapter.has_single_stream
            else self._tries.failed_token_ids
        )

    def _record_waiting_tokens(self, candidate: Candidate, busy: Set[UUID]) -> None:
        pool = self._pool
        upstream = candidate.adapter.upstream
        if candidate.adapter.has_single_stream:
            wanted = busy - self._tries.failed_token_ids
            if not wanted.isdisjoint(pool.find_ring(upstream).entries):
                self.has_busy_tokens = True
        if pool.find_trial_seconds(upstream, self._tries.failed_token_ids) is not None:
            self.has_tokens_on_trial = True

    def _record_skipped_candidate(self, candidate: Candidate, blocked: float | None) -> None:
        """Note a candidate that cannot be called in the trace, once per request."""
        upstream = candidate.adapter.upstream
        name = candidate.model.name
        breaker = self._pool.find_breaker(upstream)
        if blocked is None:
            reason = str(self._pool.count_by_state(upstream, name))
        else:
            reason = f"breaker open for {blocked:.1f} s: {breaker.reason}"
        attempt = self._trace.add_attempt(upstream.name, name, provider_id=upstream.id)
        attempt.record_end(SKIPPED, reason)
        self._has_recorded_skip = True

    def _choose_failing_token(self, order: Sequence[Candidate], busy: Set[UUID]) -> Choice | None:
        """Return a token marked as failing, of a provider that has not failed this request yet.

        A token is marked by our own judgement, so the mark alone must not make a request fail.
        """
        if self.has_busy_tokens or self.has_tokens_on_trial:
            return None
        for candidate in order:
            upstream = candidate.adapter.upstream
            if (
                candidate in self._tries.failed_candidates
                or upstream.id in self._tries.exhausted_budget_ids
            ):
                continue
            blocked = self._pool.find_breaker(upstream).find_blocked_seconds(
                time.monotonic(), self._trace.user_id, candidate.model.name
            )
            if blocked is None:
                entry = self._pool.pick_failing_token(
                    upstream, self._list_skipped_tokens(candidate, busy)
                )
                if entry is not None:
                    return Choice(candidate, entry)
        return None

    def _find_preferred_token(self, upstream: Upstream) -> UUID | None:
        """Return the token that already has the conversation, at the upstream or by our choice."""
        resume = self._request.resume
        if resume:
            return resume.token_id
        return self._pool.sticky_tokens.find_token_id(self._request.conversation, upstream.id)
