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
from tokens.outcomes.upstream_call import Call
from tokens.pool.pool import Pool
from tokens.renewal.renew_token import Order

BUSY_SECONDS = 5  # Retry-After for a caller while all streams are in use
TRIAL_POLL_SECONDS = 0.05
TOO_LONG = "context_length_exceeded"


def may_be_larger(candidate: Candidate, small: Candidate) -> bool:
    """Return whether a model may have a larger context window than the other one."""
    is_same_provider = candidate.adapter.upstream.id == small.adapter.upstream.id
    if is_same_provider and candidate.model.name == small.model.name:
        return False
    window = candidate.context_window
    least = small.context_window
    return window is None or least is None or window > least


class Search:
    """The search for one choice after another; `tries` has the failures of the earlier ones."""

    __slots__ = (
        "_again",
        "_chooser",
        "_held",
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
        self.tries = Tries(pool, trace.began + candidates[0].adapter.upstream.timeouts.total)
        self._again: Choice | None = None
        self._held: UUID | None = None  # the token whose single stream this request has claimed
        self._chooser = Chooser(request, pool, trace, self.tries)

    @property
    def deadline(self) -> float:
        return self.tries.deadline

    # --- the next choice --------------------------------------------------------------------------
    def choose_first(self) -> Choice | None:
        """Return the first choice if it needs no waiting, else None: most requests need no more."""
        if self.tries.last is not None or self._chooser.has_single_streams(self.candidates):
            return None
        return self._chooser.choose(self.candidates)

    async def find_choice(self) -> Choice | None:
        """Return the next choice, or None to give up. Raises PoolResting, DatabaseUnavailable."""
        if self.tries.last is None:
            return await self._find_free_choice(self.candidates)
        if not self.tries.may_try_on() and not await self._wait_for_proof():
            return None
        choice = self._take_again() or await self._find_once_more()
        if choice is None and self.tries.failed:
            choice = await self._find_elsewhere()
        if choice is None:
            choice = await self._find_affordable_choice()
        return choice if choice is not None and self.trace.may_go_on() else None

    async def _wait_for_proof(self) -> bool:
        """Wait a moment for other requests' calls, and return whether the provider answered one.

        If so, the request met only failing tokens, and may make one more call.
        """
        until = time.perf_counter() + settings.LAST_CHANCE_SECONDS
        while self.tries.is_out_of_attempts() and time.perf_counter() < until:
            if not self.tries.is_failing(self.tries.failed):
                return True
            if not self.tries.may_be_proved_healthy():
                return False
            await asyncio.sleep(TRIAL_POLL_SECONDS)
        return False

    def _take_again(self) -> Choice | None:
        """Return the choice whose token was rejected and is renewed to be tried once more."""
        choice = self._again
        self._again = None
        return choice

    async def _find_once_more(self) -> Choice | None:
        """Return another token of the provider whose first failure may have passed.

        None when that provider fails others as well and its retry budget is used up.
        """
        if (
            not self.tries.is_first_failure()
            or self.pool.breaker(self.tries.failed[-1].adapter.upstream).is_open
        ):
            return None
        candidates = [self.tries.failed[-1]]
        choice = self._chooser.choose(candidates)
        if choice is None:
            return None
        if not self.tries.take_retry(choice.candidate):
            self._put_back(choice)
            return None
        return await self._claim(choice, candidates)

    async def _find_elsewhere(self) -> Choice | None:
        """Return a choice of a provider that has not failed this request, or None."""
        others = [one for one in self.candidates if one not in self.tries.failed]
        choice = self._chooser.choose(others)
        return None if choice is None else await self._claim(choice, others)

    async def _find_affordable_choice(self) -> Choice | None:
        """Return a choice within the retry budgets of the providers that failed this request.

        A failing provider gets a pause before it is tried again. A provider that answers others
        needs no pause, and retries at it do not count.
        """
        if self.tries.is_failing(self.tries.failed):
            await asyncio.sleep(self.tries.pause_seconds())
        while (choice := await self._find_free_choice(self.candidates)) is not None:
            if self.tries.take_retry(choice.candidate):
                return choice
            self._put_back(choice)
        return None

    def _put_back(self, choice: Choice) -> None:
        """Free the chosen token for other requests."""
        if choice.entry is not None:
            choice.entry.held_until = 0.0
        self.release()

    async def _find_free_choice(self, candidates: Sequence[Candidate]) -> Choice | None:
        """Return a choice whose token this request may use now; wait while all are in use."""
        choice = await self._claim(self._chooser.choose(candidates), candidates)
        while choice is None and self._chooser.tokens_wait and time.perf_counter() < self.deadline:
            await asyncio.sleep(TRIAL_POLL_SECONDS)
            choice = await self._claim(self._chooser.choose(candidates), candidates)
        return choice

    # --- tokens that may have one stream at a time ------------------------------------------------
    async def _claim(self, choice: Choice | None, candidates: Sequence[Candidate]) -> Choice | None:
        """Claim the single stream of this choice's token, or of a later one, and return the choice.

        Waits while all streams are in use. Raises PoolResting, DatabaseUnavailable.
        """
        if not self.pool.shared or (choice is None and not self._chooser.is_contested):
            return choice
        if choice is not None and not choice.candidate.adapter.one_at_a_time:
            return choice
        claims = self.pool.claims
        until = min(self.deadline, time.perf_counter() + settings.CLAIM_WAIT_SECONDS)
        if await self._wait_for_own_token():
            choice = self._chooser.choose(candidates)
        while True:
            if choice is None:
                if not self._chooser.is_contested:
                    return None
                left = until - time.perf_counter()
                if left <= 0:
                    busy = "Every upstream token for this model is answering another request."
                    raise PoolResting(busy, retry_after_seconds=BUSY_SECONDS)
                await claims.freed(left)
            elif (
                choice.entry is None
                or not choice.candidate.adapter.one_at_a_time
                or choice.entry.id == self._held
            ):
                return choice
            elif await claims.claim(choice.entry.id, self.request.id, choice.entry.provider_id):
                self._held = choice.entry.id
                return choice
            choice = self._chooser.choose(candidates)

    async def _wait_for_own_token(self) -> bool:
        """Wait a moment for the token that has the conversation: its stream may be ending.

        Returns whether it was in use.
        """
        resume = self.request.resume
        claims = self.pool.claims
        if (
            resume is None
            or resume.token_id in self.tries.tokens
            or resume.token_id not in claims.busy()
        ):
            return False
        until = time.perf_counter() + settings.RESUME_WAIT_SECONDS
        while resume.token_id in claims.busy() and (left := until - time.perf_counter()) > 0:
            await claims.freed(left)
        return True

    # --- outcomes ---------------------------------------------------------------------------------
    def new_attempt(self, choice: Choice) -> Attempt:
        upstream = choice.candidate.adapter.upstream
        entry = choice.entry
        name = choice.candidate.model.name
        token_id = entry.id if entry else None
        attempt = self.trace.attempt(upstream.name, name, token_id, upstream.id)
        attempt.deadline = self.deadline
        if self.tries.last is not None or settings.MAX_ATTEMPTS == 1:
            attempt.may_resend = self.tries.may_resend()
        return attempt

    def new_call(self, choice: Choice) -> Call:
        upstream = choice.candidate.adapter.upstream
        return Call(
            upstream,
            choice.entry,
            self.pool.health(upstream),
            choice.candidate.model.name,
            self.request.id,
            self.trace.user_id,
            self.tries.failed_request(upstream.id),
        )

    def record_failure(
        self, choice: Choice, error: UpstreamError, failed: FailedRequest | None, *, again: bool
    ) -> None:
        """Record what the failed choice means for the next one.

        `failed` is the request's failure at this provider. `again`: the token was rejected, and is
        renewed and tried once more.
        """
        candidate, entry, _ = choice
        resent = self.trace.attempts[-1].resent
        if resent:
            self.tries.record_resent()
        if again and entry is not None:
            self.tries.record_refusal(error)
            self._again = Choice(candidate, entry, entry.rejected)
            if entry.rejected == entry.sealed:  # renew even if no attempt is left to use it
                order = Order(entry.id, entry.sealed, rejected=True)
                self.pool.renewals.begin(candidate.adapter, order)
            return
        self.tries.record_failure(candidate, error, failed)
        if isinstance(error, Rejected):  # nothing is wrong with the token
            self.release()
            return
        is_only = (
            len(self.candidates) == 1 and not resent
        )  # a call that was resent has been made twice already
        if not (is_only and self.tries.take_second_chance(candidate, entry)):
            self.tries.add_token(entry)
        self.release()

    def leave_small_windows(self, choice: Choice, error: Rejected) -> bool:
        """Drop the models that are no larger than the one for which the request was too long.

        Returns whether other models are left; False for every other error.
        """
        if error.shown_code != TOO_LONG:
            return False
        self.candidates = [one for one in self.candidates if may_be_larger(one, choice.candidate)]
        return bool(self.candidates)

    def release(self) -> None:
        """Release the token's stream, if this request has claimed one."""
        if self._held is not None:
            self.pool.claims.release(self._held)
            self._held = None
