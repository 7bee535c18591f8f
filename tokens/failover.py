"""Ask one candidate and token after another until one answers: the only retry loop there is.

Another one is tried only before the first chunk, at most MAX_ATTEMPTS times and as often as the Trace allows, each
time with a credential not yet tried, inside the request's deadline. A token that has expired is renewed first; one that
is rejected although it can be renewed is renewed and asked once more. After the first chunk an error ends the stream.
What each outcome does to the token and the provider is decided in `pool.py`; what happened is noted in the Trace.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from types import TracebackType
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from providers.base import Upstream
from providers.catalogue import Candidate
from providers.chat import Attempt, Batches, ChatRequest, Trace
from providers.exceptions import (
    AuthRejected,
    BadResponse,
    GatewayError,
    InvalidKey,
    ModelMissing,
    NoAvailableToken,
    PoolResting,
    ProviderDown,
    ProviderError,
    RateLimited,
    Rejected,
    TokenError,
    UpstreamError,
    UpstreamTimeout,
)
from providers.vault import VaultError
from tokens.pool import Pool
from tokens.renewal import Order
from tokens.rings import Entry

ANONYMOUS = UUID(int=0)  # stands among the tried credentials for "none"
BUSY_SECONDS = 5  # after which a caller is told to come back when every token's one stream is in use


class Choice(NamedTuple):
    """Whom to ask next and with what; `rejected` is what the token had when it was asked and rejected before."""

    candidate: Candidate
    entry: Entry | None
    rejected: str | None = None


async def answer(request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace) -> Batches:
    """Yield the chunks of the first candidate that answers. Raises GatewayError."""
    search = Search(request, candidates, pool, trace)
    deadline = search.deadline
    try:
        for number in range(pool.max_attempts):
            choice = search.next()
            if choice is None or choice.candidate.adapter.one_at_a_time:
                choice = await search.claimed(choice)
            if choice is None or (number and not trace.may_go_on()):
                break
            candidate, entry, _ = choice
            if candidate in search.failed:
                await asyncio.sleep(settings.ATTEMPT_PAUSE_SECONDS)
            attempt, model = search.attempt(choice), candidate.model_for(request)
            try:
                with Judged(pool, choice, attempt, request.id) as judged:
                    if entry is not None and entry.renewable:
                        await renewed(choice, pool, attempt)
                        judged.shown = entry.sealed
                    credential = pool.credential(entry)
                    async with aclosing(candidate.adapter.ask(request, model, credential, attempt)) as batches:
                        async for batch in batches:
                            if attempt.first_byte_ms is None:
                                attempt.first_byte_ms = (time.perf_counter() - attempt.began) * 1000
                            yield batch
                            if time.perf_counter() >= deadline:
                                raise UpstreamTimeout("The answer took longer than a request may.")
                if entry is not None and request.conversation:
                    pool.sticky.keep(request.conversation, entry.provider_id, entry.id)
                return
            except UpstreamError as error:
                over = isinstance(error, Rejected) or time.perf_counter() >= deadline
                if attempt.first_byte_ms is not None or over:
                    raise
                search.failure(choice, error, judged.forgave)
    finally:
        search.release()
    raise outcome(search.last, candidates, pool)


class Search:
    """One request's way from token to token: what was tried, and what comes next."""

    __slots__ = (
        *("_again", "_candidates", "_held", "_pool", "_request", "_skipped", "_trace", "_tried"),
        *("deadline", "failed", "last"),
    )

    def __init__(self, request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace) -> None:
        self._request, self._candidates, self._pool, self._trace = request, candidates, pool, trace
        self._tried: set[UUID] = set()
        self._again: Choice | None = None
        self._held: UUID | None = None  # a token whose one stream this request has
        self._skipped = False
        self.failed: list[Candidate] = []
        self.last: UpstreamError | None = None
        self.deadline = trace.began + candidates[0].adapter.upstream.timeouts.total

    def next(self) -> Choice | None:
        """The next candidate with a token not yet tried; those whose provider failed come last. Skipped ones are noted
        once.
        """
        if self._again is not None:
            choice, self._again = self._again, None
            return choice
        pool, request = self._pool, self._request
        first = not (self._skipped or self.failed or self._tried)
        order = self._candidates if not self.failed else sorted(self._candidates, key=self.failed.count)
        for candidate in order:
            upstream = candidate.adapter.upstream
            blocked = pool.breaker(upstream).blocked_for(time.monotonic())
            if blocked is None:
                preferred = self._preferred(upstream) if request.conversation or request.resume else None
                tried = self._tried if not candidate.adapter.one_at_a_time else self._tried.union(pool.claims.busy())
                entry = pool.pick(upstream, tried, preferred)
                if entry is not None:
                    return Choice(candidate, entry)
                if ANONYMOUS not in tried and pool.anonymous(upstream):
                    return Choice(candidate, None)
            if first:
                reason = f"breaker open for {blocked:.1f} s" if blocked is not None else pool.why_none(upstream)
                self._trace.attempt(upstream.name, candidate.model.name).end("skipped", reason)
                self._skipped = True
        return None

    def _preferred(self, upstream: Upstream) -> UUID | None:
        """The token that has the conversation so far, at the upstream or by our choice."""
        resume = self._request.resume
        return resume.token_id if resume else self._pool.sticky.token(self._request.conversation, upstream.id)

    async def claimed(self, choice: Choice | None) -> Choice | None:
        """This choice or a later one, with its token's one stream for this request; waits while all are in use. Raises
        PoolResting, DatabaseUnavailable.
        """
        if not self._pool.shared:
            return choice
        claims, until = self._pool.claims, min(self.deadline, time.perf_counter() + settings.CLAIM_WAIT_SECONDS)
        if await self._waited():
            choice = self.next()
        while True:
            if choice is None:
                if not self._contested():
                    return None
                left = until - time.perf_counter()
                if left <= 0:
                    busy = "Every upstream token for this model is answering another request."
                    raise PoolResting(busy, retry_after_seconds=BUSY_SECONDS)
                await claims.freed(left)
            elif choice.entry is None or not choice.candidate.adapter.one_at_a_time or choice.entry.id == self._held:
                return choice
            elif await claims.claim(choice.entry.id, self._request.id, choice.entry.provider_id):
                self._held = choice.entry.id
                return choice
            choice = self.next()

    async def _waited(self) -> bool:
        """Whether the token that has the conversation was in use; if so, waits a moment: its stream may be ending."""
        resume, claims = self._request.resume, self._pool.claims
        if resume is None or resume.token_id in self._tried or resume.token_id not in claims.busy():
            return False
        until = time.perf_counter() + settings.RESUME_WAIT_SECONDS
        while resume.token_id in claims.busy() and (left := until - time.perf_counter()) > 0:
            await claims.freed(left)
        return True

    def _contested(self) -> bool:
        """Whether a token that was not tried is missed only because its stream is in use."""
        pool, now = self._pool, time.monotonic()
        wanted = pool.claims.busy() - self._tried
        upstreams = (found.adapter.upstream for found in self._candidates if found.adapter.one_at_a_time)
        open_ones = (upstream for upstream in upstreams if pool.breaker(upstream).blocked_for(now) is None)
        return any(not wanted.isdisjoint(pool.rotate_as(upstream).entries) for upstream in open_ones)

    def attempt(self, choice: Choice) -> Attempt:
        upstream, entry = choice.candidate.adapter.upstream, choice.entry
        name = choice.candidate.model.name
        attempt = self._trace.attempt(upstream.name, name, entry.id if entry else None, upstream.id)
        attempt.deadline = self.deadline
        return attempt

    def failure(self, choice: Choice, error: UpstreamError, forgave: bool) -> None:
        """What the failed choice means for the next one."""
        self.last = error
        candidate, entry, _ = choice
        if forgave and entry is not None:
            self._again = Choice(candidate, entry, entry.rejected)
            if entry.rejected == entry.sealed:  # begun even if no attempt is left to use it
                self._pool.renewals.begin(candidate.adapter, Order(entry.id, entry.sealed, rejected=True))
            return
        self._tried.add(entry.id if entry else ANONYMOUS)
        self.release()
        if not isinstance(error, TokenError):
            self.failed.append(candidate)

    def release(self) -> None:
        if self._held is not None:
            self._pool.claims.release(self._held)
            self._held = None


async def renewed(choice: Choice, pool: Pool, attempt: Attempt) -> None:
    """Renew the choice's token if it has expired or what it has was rejected. Raises UpstreamError, VaultError."""
    entry = choice.entry
    assert entry is not None  # noqa: S101
    rejected = choice.rejected == entry.sealed
    if not rejected and entry.stale > time.monotonic():
        return
    order = Order(entry.id, entry.sealed, rejected=rejected)
    try:
        async with asyncio.timeout(attempt.deadline - time.perf_counter()):
            await pool.renewals.renew(choice.candidate.adapter, order)
    except TimeoutError:
        raise UpstreamTimeout("The token was not renewed in time.") from None


class Judged:
    """Around one attempt: however it ends, what that means is applied to the token and the provider, and noted.

    `shown` is what a renewable token had when it was shown; `forgave`: it was rejected, and gets another chance.
    """

    __slots__ = ("_attempt", "_breaker", "_choice", "_pool", "_request_id", "_upstream", "forgave", "shown")

    def __init__(self, pool: Pool, choice: Choice, attempt: Attempt, request_id: str) -> None:
        self._pool, self._choice, self._attempt, self._request_id = pool, choice, attempt, request_id
        self._upstream = choice.candidate.adapter.upstream
        self._breaker = pool.breaker(self._upstream)
        self.shown: str | None = None
        self.forgave = False

    def __enter__(self) -> "Judged":
        self._breaker.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        attempt, entry = self._attempt, self._choice.entry
        if error is None:
            attempt.end("answered", status=attempt.status)
            self._pool.succeeded(self._upstream, entry, self._request_id)
        elif isinstance(error, UpstreamError):
            cut = attempt.first_byte_ms is not None
            attempt.end("cut" if cut else type(error).__name__, error.message, error.upstream_status or attempt.status)
            if entry is not None and self.shown is not None and isinstance(error, AuthRejected) and not cut:
                self.forgave = self._choice.rejected is None
            if entry is not None and self.shown is not None and self.forgave:
                self._pool.rejected(self._upstream, entry, self.shown)
            else:
                self._pool.failed(self._upstream, entry, error, self._request_id)
        elif isinstance(error, VaultError):
            attempt.end("VaultError", str(error))
            self._breaker.undecided()
            raise BadResponse("A stored token cannot be opened.") from error
        else:  # the caller left, or a fault of ours
            attempt.end("abandoned", status=attempt.status)
            self._breaker.undecided()


def outcome(last: UpstreamError | None, candidates: Sequence[Candidate], pool: Pool) -> GatewayError:
    """What the caller is told when nothing answered: the last provider's error, or the state of the pool."""
    if isinstance(last, AuthRejected) and not pool.shared:
        return InvalidKey("The upstream accepts none of the tokens that the request carries.")
    if last is not None and not isinstance(last, TokenError):
        if isinstance(last, ModelMissing):
            last.param = "model"
        elif isinstance(last, ProviderError) and last.retry_after_seconds is None:
            last.retry_after_seconds = 1
        return last
    upstreams = {candidate.adapter.upstream.id: candidate.adapter.upstream for candidate in candidates}.values()
    now = time.monotonic()
    blocked = [wait for upstream in upstreams if (wait := pool.breaker(upstream).blocked_for(now)) is not None]
    wakes = [wait for upstream in upstreams if (wait := pool.wakes_in(upstream)) is not None]
    if wakes:
        state = "; ".join(pool.why_none(upstream) for upstream in upstreams)
        return PoolResting(f"All upstream tokens for this model are resting ({state}).", retry_after_seconds=min(wakes))
    if isinstance(last, RateLimited):
        return PoolResting(
            "The upstream limits the rate of requests.", retry_after_seconds=last.retry_after_seconds or 1
        )
    if blocked:
        return ProviderDown(
            "The upstream of this model is failing; it is asked again soon.", retry_after_seconds=min(blocked)
        )
    return NoAvailableToken("There is no upstream token that can answer for this model.", retry_after_seconds=60)
