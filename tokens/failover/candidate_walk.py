"""Walk through the candidates and tokens of one request, until it is answered or gives up."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from providers.catalogue import Candidate
from providers.exceptions import (
    Rejected,
    UpstreamError,
)
from providers.fast_settings import settings
from providers.protocol.attempt import Attempt
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from tokens.failover.chooser import Choice, Chooser
from tokens.failover.single_stream import SingleStream
from tokens.failover.tries import NO_TOKEN_ID, Tries
from tokens.outcomes.upstream_call import UpstreamCall
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken
from tokens.renewal.renew_token import RenewalOrder

if TYPE_CHECKING:
    from tokens.failover.upstream_attempt import UpstreamAttempt

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


class CandidateWalk:
    """The choices of one request, one after another; `tries` has the failures of earlier ones.

    `metered_call` meters the usage of whichever attempt is answered.
    """

    __slots__ = (
        "_chooser",
        "_learnt_fields",
        "_retry_choice",
        "_single_stream",
        "candidates",
        "metered_call",
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
        self._learnt_fields: set[str] = set()  # fields that an upstream refused
        self._chooser = Chooser(request, pool, trace, self.tries)
        self._single_stream = SingleStream(request, pool, self._chooser, self.tries)
        self.metered_call = trace.meter.begin_call(request.counted_body)

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
        if self._is_second_chance(choice) and (
            len(self.candidates) > 1 or self.tries.named_wait_seconds
        ):
            return None  # others go first, or the upstream asked for a pause
        if not self.tries.take_retry(choice.candidate):
            self._release_choice(choice)
            return None
        return await self._single_stream.claim_choice(choice, candidates)

    def _is_second_chance(self, choice: Choice) -> bool:
        """Return whether this choice's token has failed this request already."""
        token_id = choice.entry.id if choice.entry else NO_TOKEN_ID
        return token_id in self.tries.second_chance_ids

    async def _find_other_provider(self) -> Choice | None:
        """Return a choice of a provider that has not failed this request, or None."""
        others = [one for one in self.candidates if one not in self.tries.failed_candidates]
        choice = self._chooser.choose_next(others)
        return None if choice is None else await self._single_stream.claim_choice(choice, others)

    async def _find_affordable_choice(self) -> Choice | None:
        """Return a choice within the retry budgets of the providers that failed this request.

        A failing provider gets a pause before it is tried again. A provider that answers others
        needs no pause, and retries at it do not count.
        """
        is_failing = self.tries.has_failing_provider(self.tries.failed_candidates)
        if is_failing or self.tries.named_wait_seconds:
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
        while True:
            choice = self._chooser.choose_next(candidates)
            choice = await self._single_stream.claim_choice(choice, candidates)
            if choice is not None or not self._chooser.has_tokens_on_trial:
                return choice
            if time.perf_counter() >= self.tries.deadline:
                return None
            await asyncio.sleep(TRIAL_POLL_SECONDS)

    # --- attempts and their outcomes --------------------------------------------------------------
    def add_attempt(self, choice: Choice) -> Attempt:
        """Add an attempt for this choice to the trace, and meter it from now on."""
        upstream = choice.candidate.adapter.upstream
        token_id = choice.entry.id if choice.entry else None
        name = choice.candidate.model.name
        attempt = self.trace.add_attempt(upstream.name, name, token_id, upstream.id)
        attempt.deadline = self.tries.deadline
        if self.tries.last_error is not None or settings.MAX_ATTEMPTS == 1:
            attempt.may_resend = self.tries.may_resend()
        self.metered_call.attempt = attempt
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

    def learn_refused_field(self, attempt: "UpstreamAttempt", error: UpstreamError) -> bool:
        """Learn which field of the request the upstream does not take; return whether to ask again.

        Each field is learnt once per request. Writes to the adapter and to the attempt's record.
        """
        if not isinstance(error, Rejected) or self.request.endpoint != CHAT:
            return False
        candidate = attempt.choice.candidate
        model = candidate.configure_model(self.request)
        name = candidate.adapter.learn_refusal(self.request, model, error)
        if not name or name in self._learnt_fields or not self.trace.claim_next_call():
            return False
        self._learnt_fields.add(name)
        other_name = candidate.adapter.refused_fields.find_other_name(model.name, name)
        change = f"without {name}"
        if other_name:
            change = f"with {other_name} instead of {name}"
        attempt.record.reason = f"{error.message} Sent again {change}."
        self.release_stream()
        return True

    def leave_out_rejected(self, choice: Choice, error: UpstreamError) -> bool:
        """Leave out the candidates that would reject the request too; return whether any is left.

        A request that is too long may suit a model with a larger window. For every other reason to
        reject a request no other candidate is tried. An error that is no rejection leaves out none.
        """
        if not isinstance(error, Rejected):
            return True
        if error.shown_code != CONTEXT_TOO_LONG:
            return False
        self.candidates = [
            candidate
            for candidate in self.candidates
            if may_have_larger_window(candidate, choice.candidate)
        ]
        return bool(self.candidates)

    def record_failure(self, attempt: "UpstreamAttempt", error: UpstreamError) -> None:
        """Record the failure of an attempt for the choices after it."""
        candidate, entry, _ = attempt.choice
        if attempt.record.is_resent:
            self.tries.record_resent_call()
        if attempt.wants_retry and entry is not None:
            self.tries.record_refusal(error)
            self._retry_renewed(candidate, entry)
            return
        self.tries.record_failure(candidate, error, attempt.upstream_call.failed_request)
        is_rejected = isinstance(error, Rejected)  # nothing is wrong with the token
        if not is_rejected and not self.tries.take_second_chance(candidate, entry):
            self.tries.add_failed_token(entry)
        self.release_stream()

    def _retry_renewed(self, candidate: Candidate, entry: PooledToken) -> None:
        """Begin to renew the rejected token, and choose it next."""
        self._retry_choice = Choice(candidate, entry, entry.rejected_secret)
        if entry.rejected_secret == entry.sealed:  # renew even if no attempt is left to use it
            order = RenewalOrder(entry.id, entry.sealed, is_rejected=True)
            self.pool.renewals.begin_renewal(candidate.adapter, order)

    def release_stream(self) -> None:
        """Release the token's stream, if this request has claimed one."""
        self._single_stream.release()
