"""What a request has tried so far, and whether it may try on."""

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

ANONYMOUS = UUID(int=0)  # stands among the tried credentials for "none"
PASSING = (Contended, ServerFailed, Unreachable)  # may be over at the next try


class Tries:
    """`tokens` were asked in vain, `failed` are the candidates whose providers failed, each as
    often as it did, `last` is the last error. `deadline` is on the clock of time.perf_counter().
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
        self._second_chances = 0  # of a credential that is the only one, after a passing failure
        self._failed_requests: dict[int, FailedRequest] = {}  # by provider
        self._provider_failures = self._refusals = 0

    # --- may it go on -----------------------------------------------------------------------------
    def may_try_on(self) -> bool:
        """Whether one more call may be made, as far as their number and the time allow."""
        if time.perf_counter() >= self.deadline:
            return False
        if self._refusals + self._provider_failures >= int(settings.MAX_TOKENS_TRIED):
            return False
        attempts: int = settings.MAX_ATTEMPTS
        if self._provider_failures == attempts and not self.is_failing(self.failed):
            attempts += 1
        return self._provider_failures < attempts

    def is_out_of_attempts(self) -> bool:
        """Whether nothing but the number of the provider's failures forbids one more call."""
        tried = self._refusals + self._provider_failures
        has_room = tried < int(settings.MAX_TOKENS_TRIED) and time.perf_counter() < self.deadline
        return has_room and self._provider_failures == settings.MAX_ATTEMPTS

    def may_be_proved_healthy(self) -> bool:
        """Whether calls are running that may still show that the fault is not the provider's."""
        return any(
            self._pool.health(candidate.adapter.upstream).is_undecided()
            for candidate in self.failed
        )

    def is_first_failure(self) -> bool:
        """Whether a provider has failed this request for the first time, and the failure may have
        passed.
        """
        return self._provider_failures == 1 and isinstance(self.last, PASSING)

    def may_resend(self) -> bool:
        """Whether the next call may become two: a kept connection may have been closed."""
        return self._provider_failures + 1 < int(settings.MAX_ATTEMPTS)

    def is_failing(self, candidates: Sequence[Candidate]) -> bool:
        """Whether one of these failed this request, and does not answer others either."""
        now = time.monotonic()
        return any(
            candidate in self.failed
            and not self._pool.health(candidate.adapter.upstream).is_healthy(now)
            for candidate in candidates
        )

    def take_retry(self, candidate: Candidate) -> bool:
        """Whether the candidate may be asked within its provider's retry budget; the call is
        counted there.
        """
        if not self.is_failing([candidate]):
            return True
        upstream = candidate.adapter.upstream
        if self._pool.health(upstream).budget.take_retry(time.monotonic()):
            return True
        self.unaffordable.add(upstream.id)
        return False

    def pause_seconds(self) -> float:
        """The pause before the next try; drawn at random, so that requests do not come together."""
        longest = max(0.0, self.deadline - time.perf_counter())
        pause: float = settings.ATTEMPT_PAUSE_SECONDS * (0.75 + random.random() / 2)  # noqa: S311
        return min(pause, longest)

    # --- what happened ----------------------------------------------------------------------------
    def failed_request(self, provider_id: int) -> FailedRequest | None:
        """The request's earlier failures at this provider."""
        return self._failed_requests.get(provider_id) if self._failed_requests else None

    def record_refusal(self, error: UpstreamError) -> None:
        """Record that a token was rejected which is renewed and asked once more."""
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
        """Record that the last call was two."""
        self._provider_failures += 1

    def take_second_chance(self, candidate: Candidate, entry: Entry | None) -> bool:
        """Whether the credential may be asked again: it is the only one, and the failure may have
        passed.
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
        """Ask this credential no more."""
        self.tokens.add(entry.id if entry else ANONYMOUS)
