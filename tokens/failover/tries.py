"""The calls that a request has made so far, and whether it may make another."""

import random
import time
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings

from providers.catalogue import Candidate
from providers.exceptions import (
    Contended,
    Rejected,
    ServerFailed,
    TokenError,
    Unreachable,
    UpstreamError,
)
from tokens.outcomes.breaker import FailedRequest
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import Entry

ANONYMOUS = UUID(int=0)  # the id of "no token" among the tried credentials
PASSING = (Contended, ServerFailed, Unreachable)  # errors that may be over at the next try


class Tries:
    """The failed calls of one request.

    `tokens` are the tokens that failed. `failed` are the candidates whose providers failed, each as
    often as it did. `last` is the last error. `deadline` is on the clock of time.perf_counter().
    """

    __slots__ = (
        "_failed_requests",
        "_pool",
        "_provider_failures",
        "_refusals",
        "_second_chances",
        "deadline",
        "failed",
        "last",
        "tokens",
        "unaffordable",
    )

    def __init__(self, pool: Pool, deadline: float) -> None:
        self._pool = pool
        self.deadline = deadline
        self.tokens: set[UUID] = set()
        self.failed: list[Candidate] = []
        self.last: UpstreamError | None = None
        self.unaffordable: set[int] = set()  # providers whose retry budget is used up
        self._second_chances = 0  # retries with the only token, after a passing failure
        self._failed_requests: dict[int, FailedRequest] = {}  # by provider
        self._provider_failures = self._refusals = 0

    # --- limits -----------------------------------------------------------------------------------
    def may_try_on(self) -> bool:
        """Return whether one more call may be made, by the number of calls and the deadline."""
        if time.perf_counter() >= self.deadline:
            return False
        if self._refusals + self._provider_failures >= int(settings.MAX_TOKENS_TRIED):
            return False
        attempts: int = settings.MAX_ATTEMPTS
        if self._provider_failures == attempts and not self.is_failing(self.failed):
            attempts += 1
        return self._provider_failures < attempts

    def is_out_of_attempts(self) -> bool:
        """Return whether only the number of the provider's failures forbids one more call."""
        tried = self._refusals + self._provider_failures
        has_room = tried < int(settings.MAX_TOKENS_TRIED) and time.perf_counter() < self.deadline
        return has_room and self._provider_failures == settings.MAX_ATTEMPTS

    def may_be_proved_healthy(self) -> bool:
        """Return whether running calls may still show that the provider is not at fault."""
        return any(
            self._pool.health(candidate.adapter.upstream).is_undecided()
            for candidate in self.failed
        )

    def is_first_failure(self) -> bool:
        """Return whether this is the request's first provider failure, and of a passing kind."""
        return self._provider_failures == 1 and isinstance(self.last, PASSING)

    def may_resend(self) -> bool:
        """Return whether the next call may be sent twice.

        A call is sent again when a kept connection turns out to be closed.
        """
        return self._provider_failures + 1 < int(settings.MAX_ATTEMPTS)

    def is_failing(self, candidates: Sequence[Candidate]) -> bool:
        """Return whether one of these failed this request and does not answer others either."""
        now = time.monotonic()
        return any(
            candidate in self.failed
            and not self._pool.health(candidate.adapter.upstream).is_healthy(now)
            for candidate in candidates
        )

    def take_retry(self, candidate: Candidate) -> bool:
        """Take one call from the provider's retry budget, and return whether it may be made.

        Only a call at a failing provider counts.
        """
        if not self.is_failing([candidate]):
            return True
        upstream = candidate.adapter.upstream
        if self._pool.health(upstream).budget.take_retry(time.monotonic()):
            return True
        self.unaffordable.add(upstream.id)
        return False

    def pause_seconds(self) -> float:
        """Return the pause before the next try.

        It is partly random, so that requests do not come together.
        """
        longest = max(0.0, self.deadline - time.perf_counter())
        pause: float = settings.ATTEMPT_PAUSE_SECONDS * (0.75 + random.random() / 2)  # noqa: S311
        return min(pause, longest)

    # --- outcomes ---------------------------------------------------------------------------------
    def failed_request(self, provider_id: int) -> FailedRequest | None:
        """Return the request's earlier failures at this provider."""
        return self._failed_requests.get(provider_id) if self._failed_requests else None

    def record_refusal(self, error: UpstreamError) -> None:
        """Record the rejection of a token that is renewed and tried once more."""
        self.last = error
        self._refusals += 1

    def record_failure(
        self, candidate: Candidate, error: UpstreamError, failed: FailedRequest | None
    ) -> None:
        """Record a failed call; `failed` is the request's failure at this provider."""
        self.last = error
        if failed is not None:
            self._failed_requests[candidate.adapter.upstream.id] = failed
        if isinstance(error, TokenError):
            self._refusals += 1
        elif not isinstance(error, Rejected):
            self._provider_failures += 1
            self.failed.append(candidate)

    def record_resent(self) -> None:
        """Record that the last call was sent twice."""
        self._provider_failures += 1

    def take_second_chance(self, candidate: Candidate, entry: Entry | None) -> bool:
        """Count a second chance of the only token, and return whether it has one.

        It has one after a passing failure, up to ONLY_TOKEN_RETRIES times per request.
        """
        if self._second_chances >= settings.ONLY_TOKEN_RETRIES or not isinstance(
            self.last, PASSING
        ):
            return False
        if not self._pool.shared or self._pool.has_other(candidate.adapter.upstream, entry):
            return False
        self._second_chances += 1
        return True

    def add_token(self, entry: Entry | None) -> None:
        """Record that this token must not be tried again; None is a call without a token."""
        self.tokens.add(entry.id if entry else ANONYMOUS)
