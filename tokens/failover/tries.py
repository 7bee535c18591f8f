"""The calls that a request has made so far, and whether it may make another."""

import random
import time
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings

from providers.catalogue import Candidate
from providers.exceptions import (
    Contended,
    Disconnected,
    Rejected,
    ServerFailed,
    TokenError,
    Unreachable,
    UpstreamError,
)
from tokens.outcomes.breaker import FailedRequest
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken

NO_TOKEN_ID = UUID(int=0)  # the id of "no token" among the tried credentials
TRANSIENT_ERRORS = (Contended, ServerFailed, Unreachable)  # errors that may be over at the next try
# errors after which the only token is asked again
SECOND_CHANCE_ERRORS = (*TRANSIENT_ERRORS, Disconnected)
# an upstream that names a longer wait is not asked again: the caller gets it as Retry-After
LONGEST_PAUSE_SECONDS = 5.0


class Tries:
    """The failed calls of one request.

    `failed_token_ids` are the tokens that failed. `failed_candidates` are the candidates whose
    providers failed, each as often as it did. `second_chance_ids` are tokens that failed and may be
    asked again. `last_error` is the last error. `deadline` is on the clock of time.perf_counter().
    """

    __slots__ = (
        "_failed_requests",
        "_pool",
        "_provider_failure_count",
        "_refusal_count",
        "_second_chance_count",
        "deadline",
        "exhausted_budget_ids",
        "failed_candidates",
        "failed_token_ids",
        "last_error",
        "second_chance_ids",
    )

    def __init__(self, pool: Pool, deadline: float) -> None:
        self._pool = pool
        self.deadline = deadline
        self.failed_token_ids: set[UUID] = set()
        self.failed_candidates: list[Candidate] = []
        self.last_error: UpstreamError | None = None
        self.exhausted_budget_ids: set[int] = set()  # providers whose retry budget is used up
        self._second_chance_count = 0  # retries with the only token, after a passing failure
        self.second_chance_ids: set[UUID] = set()
        self._failed_requests: dict[int, FailedRequest] = {}  # by provider
        self._provider_failure_count = self._refusal_count = 0

    # --- limits -----------------------------------------------------------------------------------
    def may_try_again(self) -> bool:
        """Return whether one more call may be made, by the number of calls and the deadline."""
        if time.perf_counter() >= self.deadline:
            return False
        if self._refusal_count + self._provider_failure_count >= int(settings.MAX_TOKENS_TRIED):
            return False
        attempts: int = settings.MAX_ATTEMPTS
        if self._provider_failure_count == attempts and not self.has_failing_provider(
            self.failed_candidates
        ):
            attempts += 1
        return self._provider_failure_count < attempts

    def is_out_of_attempts(self) -> bool:
        """Return whether only the number of the provider's failures forbids one more call."""
        tried = self._refusal_count + self._provider_failure_count
        has_room = tried < int(settings.MAX_TOKENS_TRIED) and time.perf_counter() < self.deadline
        return has_room and self._provider_failure_count == settings.MAX_ATTEMPTS

    def has_undecided_provider(self) -> bool:
        """Return whether running calls may still show that the provider is not at fault."""
        return any(
            self._pool.find_health(candidate.adapter.upstream).has_undecided_call()
            for candidate in self.failed_candidates
        )

    def is_first_failure(self) -> bool:
        """Return whether this is the request's first provider failure, and of a passing kind."""
        return self._provider_failure_count == 1 and isinstance(self.last_error, TRANSIENT_ERRORS)

    def may_resend(self) -> bool:
        """Return whether the next call may be sent twice.

        A call is sent again when a kept connection turns out to be closed.
        """
        return self._provider_failure_count + 1 < int(settings.MAX_ATTEMPTS)

    def has_failing_provider(self, candidates: Sequence[Candidate]) -> bool:
        """Return whether one of these failed this request and does not answer others either."""
        now = time.monotonic()
        return any(
            candidate in self.failed_candidates
            and not self._pool.find_health(candidate.adapter.upstream).is_healthy(now)
            for candidate in candidates
        )

    def take_retry(self, candidate: Candidate) -> bool:
        """Take one call from the provider's retry budget, and return whether it may be made.

        Only a call at a failing provider counts.
        """
        if not self.has_failing_provider([candidate]):
            return True
        upstream = candidate.adapter.upstream
        if self._pool.find_health(upstream).retry_budget.take_retry(time.monotonic()):
            return True
        self.exhausted_budget_ids.add(upstream.id)
        return False

    def pause_seconds(self) -> float:
        """Return the pause before the next try.

        It is partly random, so that requests do not come together. It is no shorter than the wait
        that the upstream named.
        """
        longest = max(0.0, self.deadline - time.perf_counter())
        pause: float = settings.ATTEMPT_PAUSE_SECONDS * (0.75 + random.random() / 2)  # noqa: S311
        return min(max(pause, self.named_wait_seconds), longest)

    @property
    def named_wait_seconds(self) -> float:
        """Return for how many seconds the upstream asked us to wait before a second chance."""
        if not self.second_chance_ids or not isinstance(self.last_error, SECOND_CHANCE_ERRORS):
            return 0.0
        seconds = self.last_error.retry_after_seconds or 0.0
        return seconds if seconds <= LONGEST_PAUSE_SECONDS else 0.0

    # --- outcomes ---------------------------------------------------------------------------------
    def find_failed_request(self, provider_id: int) -> FailedRequest | None:
        """Return the request's earlier failures at this provider."""
        return self._failed_requests.get(provider_id) if self._failed_requests else None

    def record_refusal(self, error: UpstreamError) -> None:
        """Record the rejection of a token that is renewed and tried once more."""
        self.last_error = error
        self._refusal_count += 1

    def record_failure(
        self, candidate: Candidate, error: UpstreamError, failed_request: FailedRequest | None
    ) -> None:
        """Record a failed call; `find_failed_request` is the request's failure at this provider."""
        self.last_error = error
        if failed_request is not None:
            self._failed_requests[candidate.adapter.upstream.id] = failed_request
        if isinstance(error, TokenError):
            self._refusal_count += 1
        elif not isinstance(error, Rejected):
            self._provider_failure_count += 1
            self.failed_candidates.append(candidate)

    def record_resent_call(self) -> None:
        """Record that the last call was sent twice."""
        self._provider_failure_count += 1

    def take_second_chance(self, candidate: Candidate, entry: PooledToken | None) -> bool:
        """Count a second chance of the last untried token, and return whether it has one.

        It has one after a failure that may pass, up to ONLY_TOKEN_RETRIES times per request, unless
        the upstream asks for a longer wait than LONGEST_PAUSE_SECONDS.
        """
        if self._second_chance_count >= settings.ONLY_TOKEN_RETRIES or not isinstance(
            self.last_error, SECOND_CHANCE_ERRORS
        ):
            return False
        if (self.last_error.retry_after_seconds or 0.0) > LONGEST_PAUSE_SECONDS:
            return False
        token_id = entry.id if entry else NO_TOKEN_ID
        tried_ids = self.failed_token_ids | {token_id}
        if entry is not None and self._pool.has_untried_token(
            candidate.adapter.upstream, tried_ids, candidate.model.name
        ):
            return False
        self._second_chance_count += 1
        self.second_chance_ids.add(token_id)
        return True

    def add_failed_token(self, entry: PooledToken | None) -> None:
        """Record that this token must not be tried again; None is a call without a token."""
        self.failed_token_ids.add(entry.id if entry else NO_TOKEN_ID)
