"""Find the choices of one request, from the first call to the point where it gives up."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

from providers.catalogue import Candidate
from providers.exceptions import (
    PoolResting,
    Rejected,
    UpstreamError,
)
from providers.fast_settings import settings
from providers.protocol.attempt import Attempt
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from tokens.failover.chooser import Choice, Chooser
from tokens.failover.tries import Tries
from tokens.outcomes.breaker import FailedRequest
from tokens.outcomes.upstream_call import UpstreamCall
from tokens.pool.pool import Pool
from tokens.renewal.renew_token import RenewalOrder

RETRY_BUSY_POOL_SECONDS = 5  # Retry-After for a caller while all streams are in use
TRIAL_POLL_SECONDS = 0.05
CONTEXT_TOO_LONG = "context_length_exceeded"


def may_have_larger_window(candidate: Candidate, small: Candidate) -> bool:
    """Return whether a model may have a larger context window than the other one."""
    is_same_provider = candidate.adapter.upstream.id == small.adapter.upstream.id
    if is_same_provider and candidate.model.name == small.model.name:
        return False
    window = candidate.context_window
    least = small.context_window
    return window is None or least is None or window > least


class ChoiceSearch:
    """The search for one choice after another; `tries` has the failures of the earlier ones."""

    __slots__ = (
        "_chooser",
        "_claimed_token_id",
        "_retry_choice",
        "candidates",
        "pool",
        "request",
        "trace",
        "tries",
    )

    def __init__(
        self,
        request: ChatRequest,
        candidates: Sequence[Candidate],
        pool: Pool,
        trace: Trace,
    ) -> None:
        self.request = request
        self.candidates = candidates
        self.pool = pool
        self.trace = trace
        self.tries = Tries(
            pool, trace.started_seconds + candidates[0].adapter.upstream.timeouts.total
        )
        self._retry_choice: Choice | None = None
        self._claimed_token_id: UUID | None = (
            None  # the token whose single stream this request has claimed
        )
        self._chooser = Chooser(request, pool, trace, self.tries)

    @property
    def deadline(self) -> float:
        return self.tries.deadline

    # --- the next choice --------------------------------------------------------------------------
    def choose_first(self) -> Choice | None:
        """Return the first choice if it needs no waiting, else None: most requests need no more."""
        if self.tries.last_error is not None or self._chooser.has_single_streams(self.candidates):
            return None
        return self._chooser.choose_next(self.candidates)

    async def find_choice(self) -> Choice | None:
        """Return the next choice, or None to give up. Raises PoolResting, DatabaseUnavailable."""
        if self.tries.last_error is None:
            return await self._find_free_choice(self.candidates)
        if not self.tries.may_try_again() and not await self._wait_for_provider_health():
            return None
        choice = self._take_retry_choice() or await self._find_first_retry()
        if choice is None and self.tries.failed_candidates:
            choice = await self._find_other_provider()
        if choice is None:
            choice = await self._find_affordable_choice()
        return choice if choice is not None and self.trace.claim_next_call() else None

    async def _wait_for_provider_health(self) -> bool:
        """Wait a moment for other requests' calls, and return whether the provider answered one.

        If so, the request met only failing tokens, and may make one more call.
        """
        until = time.perf_counter() + settings.LAST_CHANCE_SECONDS
        while self.tries.is_out_of_attempts() and time.perf_counter() < until:
            if not self.tries.has_failing_provider(self.tries.failed_candidates):
                return True
            if not self.tries.has_undecided_provider():
                return False
            await asyncio.sleep(TRIAL_POLL_SECONDS)
        return False

    def _take_retry_choice(self) -> Choice | None:
        """Return the choice whose token was rejected and is renewed to be tried once more."""
        choice = self._retry_choice
        self._retry_choice = None
        return choice

    async def _find_first_retry(self) -> Choice | None:
        """Return another token of the provider whose first failure may have passed.

        None when that provider fails others as well and its retry budget is used up.
        """
        if (
            not self.tries.is_first_failure()
            or self.pool.find_breaker(self.tries.failed_candidates[-1].adapter.upstream).is_open
        ):
            return None
        candidates = [self.tries.failed_candidates[-1]]
        choice = self._chooser.choose_next(candidates)
        if choice is None:
            return None
        if not self.tries.take_retry(choice.candidate):
            self._release_choice(choice)
            return None
        return await self._claim_choice(choice, candidates)

    async def _find_other_provider(self) -> Choice | None:
        """Return a choice of a provider that has not failed this request, or None."""
        others = [one for one in self.candidates if one not in self.tries.failed_candidates]
        choice = self._chooser.choose_next(others)
        return None if choice is None else await self._claim_choice(choice, others)

    async def _find_affordable_choice(self) -> Choice | None:
        """Return a choice within the retry budgets of the providers that failed this request.

        A failing provider gets a pause before it is tried again. A provider that answers others
        needs no pause, and retries at it do not count.
        """
        if self.tries.has_failing_provider(self.tries.failed_candidates):
            await asyncio.sleep(self.tries.pause_seconds())
        while (choice := await self._find_free_choice(self.candidates)) is not None:
            if self.tries.take_retry(choice.candidate):
                return choice
            self._release_choice(choice)
        return None

    def _release_choice(self, choice: Choice) -> None:
        """Free the chosen token for other requests."""
        if choice.entry is not None:
            choice.entry.held_until = 0.0
        self.release_stream()

    async def _find_free_choice(self, candidates: Sequence[Candidate]) -> Choice | None:
        """Return a choice whose token this request may use now; wait while all are in use."""
        choice = await self._claim_choice(self._chooser.choose_next(candidates), candidates)
        while (
            choice is None
            and self._chooser.has_tokens_on_trial
            and time.perf_counter() < self.deadline
        ):
            await asyncio.sleep(TRIAL_POLL_SECONDS)
            choice = await self._claim_choice(self._chooser.choose_next(candidates), candidates)
        return choice

    # --- tokens that may have one stream at a time ------------------------------------------------
    async def _claim_choice(
        self, choice: Choice | None, candidates: Sequence[Candidate]
    ) -> Choice | None:
        """Claim the single stream of this choice's token, or of a later one, and return the choice.

        Waits while all streams are in use. Raises PoolResting, DatabaseUnavailable.
        """
        if not self.pool.is_shared or (choice is None and not self._chooser.has_busy_tokens):
            return choice
        if choice is not None and not choice.candidate.adapter.has_single_stream:
            return choice
        claims = self.pool.stream_claims
        until = min(self.deadline, time.perf_counter() + settings.CLAIM_WAIT_SECONDS)
        if await self._wait_for_resumed_token():
            choice = self._chooser.choose_next(candidates)
        while True:
            if choice is None:
                if not self._chooser.has_busy_tokens:
                    return None
                left = until - time.perf_counter()
                if left <= 0:
                    busy = "Every upstream token for this model is answering another request."
                    raise PoolResting(busy, retry_after_seconds=RETRY_BUSY_POOL_SECONDS)
                await claims.wait_until_freed(left)
            elif (
                choice.entry is None
                or not choice.candidate.adapter.has_single_stream
                or choice.entry.id == self._claimed_token_id
            ):
                return choice
            elif await claims.claim_stream(
                choice.entry.id, self.request.id, choice.entry.provider_id
            ):
                self._claimed_token_id = choice.entry.id
                return choice
            choice = self._chooser.choose_next(candidates)

    async def _wait_for_resumed_token(self) -> bool:
        """Wait a moment for the token that has the conversation: its stream may be ending.

        Returns whether it was in use.
        """
        resume = self.request.resume
        claims = self.pool.stream_claims
        if (
            resume is None
            or resume.token_id in self.tries.failed_token_ids
            or resume.token_id not in claims.find_busy_tokens()
        ):
            return False
        until = time.perf_counter() + settings.RESUME_WAIT_SECONDS
        while (
            resume.token_id in claims.find_busy_tokens()
            and (left := until - time.perf_counter()) > 0
        ):
            await claims.wait_until_freed(left)
        return True

    # --- outcomes ---------------------------------------------------------------------------------
    def add_attempt(self, choice: Choice) -> Attempt:
        upstream = choice.candidate.adapter.upstream
        entry = choice.entry
        name = choice.candidate.model.name
        token_id = entry.id if entry else None
        attempt = self.trace.add_attempt(upstream.name, name, token_id, upstream.id)
        attempt.deadline = self.deadline
        if self.tries.last_error is not None or settings.MAX_ATTEMPTS == 1:
            attempt.may_resend = self.tries.may_resend()
        return attempt

    def build_upstream_call(self, choice: Choice) -> UpstreamCall:
        upstream = choice.candidate.adapter.upstream
        return UpstreamCall(
            upstream,
            choice.entry,
            self.pool.find_health(upstream),
            choice.candidate.model.name,
            self.request.id,
            self.trace.user_id,
            self.tries.find_failed_request(upstream.id),
        )

    def record_failure(
        self,
        choice: Choice,
        error: UpstreamError,
        failed_request: FailedRequest | None,
        *,
        wants_retry: bool,
    ) -> None:
        """Record what the failed choice means for the next one.

        `failed_request` is the request's failure at this provider. `wants_retry`: the token was
        rejected, and is renewed and tried once more.
        """
        candidate, entry, _ = choice
        resent = self.trace.attempts[-1].is_resent
        if resent:
            self.tries.record_resent_call()
        if wants_retry and entry is not None:
            self.tries.record_refusal(error)
            self._retry_choice = Choice(candidate, entry, entry.rejected_secret)
            if entry.rejected_secret == entry.sealed:  # renew even if no attempt is left to use it
                order = RenewalOrder(entry.id, entry.sealed, is_rejected=True)
                self.pool.renewals.begin_renewal(candidate.adapter, order)
            return
        self.tries.record_failure(candidate, error, failed_request)
        if isinstance(error, Rejected):  # nothing is wrong with the token
            self.release_stream()
            return
        is_only = (
            len(self.candidates) == 1 and not resent
        )  # a call that was resent has been made twice already
        if not (is_only and self.tries.take_second_chance(candidate, entry)):
            self.tries.add_failed_token(entry)
        self.release_stream()

    def remove_small_windows(self, choice: Choice, error: Rejected) -> bool:
        """Drop the models that are no larger than the one for which the request was too long.

        Returns whether other models are left; False for every other error.
        """
        if error.shown_code != CONTEXT_TOO_LONG:
            return False
        self.candidates = [
            one for one in self.candidates if may_have_larger_window(one, choice.candidate)
        ]
        return bool(self.candidates)

    def release_stream(self) -> None:
        """Release the token's stream, if this request has claimed one."""
        if self._claimed_token_id is not None:
            self.pool.stream_claims.release_stream(self._claimed_token_id)
            self._claimed_token_id = None
