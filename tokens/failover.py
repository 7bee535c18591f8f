"""Ask one candidate and token after another until one answers: the only retry loop there is.

Another one is tried only before the first chunk, at most MAX_ATTEMPTS times, each time with a credential not yet
tried, inside the request's deadline. After the first chunk an error ends the stream. What each outcome does to the
token and the provider is decided in `pool.py`; what happened is noted in the Trace.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from types import TracebackType
from uuid import UUID

from django.conf import settings

from providers.base import Upstream
from providers.catalogue import Candidate
from providers.chat import Attempt, Batches, ChatRequest, Trace
from providers.exceptions import (
    BadResponse,
    GatewayError,
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
from tokens.rings import Entry

ANONYMOUS = UUID(int=0)  # stands among the tried credentials for "none"


async def answer(request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace) -> Batches:
    """Yield the chunks of the first candidate that answers. Raises GatewayError."""
    tried: set[UUID] = set()
    failed: list[Candidate] = []
    last: UpstreamError | None = None
    deadline = trace.began + candidates[0].adapter.upstream.timeouts.total
    for _ in range(pool.max_attempts):
        found = next_choice(candidates, failed, pool, tried, trace)
        if found is None:
            break
        candidate, entry = found
        if candidate in failed:
            await asyncio.sleep(settings.ATTEMPT_PAUSE_SECONDS)
        adapter, upstream = candidate.adapter, candidate.adapter.upstream
        model = candidate.model_for(request)
        attempt = trace.attempt(upstream.name, model.name, entry.id if entry else None, upstream.id)
        attempt.deadline = deadline
        try:
            with Judged(pool, upstream, entry, attempt):
                credential = pool.credential(entry)
                async with aclosing(adapter.ask(request, model, credential, attempt)) as batches:
                    async for batch in batches:
                        if attempt.first_byte_ms is None:
                            attempt.first_byte_ms = (time.perf_counter() - attempt.began) * 1000
                        yield batch
                        if time.perf_counter() >= deadline:
                            raise UpstreamTimeout("The answer took longer than a request may.")
            return
        except UpstreamError as error:
            if attempt.first_byte_ms is not None or isinstance(error, Rejected) or time.perf_counter() >= deadline:
                raise
            last = error
            tried.add(entry.id if entry else ANONYMOUS)
            if not isinstance(error, TokenError):
                failed.append(candidate)
    raise outcome(last, candidates, pool)


class Judged:
    """Around one attempt: however it ends, what that means is applied to the token and the provider, and noted."""

    __slots__ = ("_attempt", "_breaker", "_entry", "_pool", "_upstream")

    def __init__(self, pool: Pool, upstream: Upstream, entry: Entry | None, attempt: Attempt) -> None:
        self._pool, self._upstream, self._entry, self._attempt = pool, upstream, entry, attempt
        self._breaker = pool.breaker(upstream)

    def __enter__(self) -> None:
        self._breaker.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        attempt = self._attempt
        if error is None:
            attempt.end("answered", status=attempt.status)
            self._pool.succeeded(self._upstream, self._entry)
        elif isinstance(error, UpstreamError):
            cut = attempt.first_byte_ms is not None
            attempt.end("cut" if cut else type(error).__name__, error.message, error.upstream_status or attempt.status)
            self._pool.failed(self._upstream, self._entry, error)
        elif isinstance(error, VaultError):
            attempt.end("VaultError", str(error))
            self._breaker.undecided()
            raise BadResponse("A stored token cannot be opened.") from error
        else:  # the caller left, or a fault of ours
            attempt.end("abandoned", status=attempt.status)
            self._breaker.undecided()


def next_choice(
    candidates: Sequence[Candidate], failed: Sequence[Candidate], pool: Pool, tried: set[UUID], trace: Trace
) -> tuple[Candidate, Entry | None] | None:
    """The next candidate with a token not yet tried; those whose provider failed come last. Skipped ones are noted."""
    order = candidates if not failed else sorted(candidates, key=failed.count)
    for candidate in order:
        upstream = candidate.adapter.upstream
        blocked = pool.breaker(upstream).blocked_for(time.monotonic())
        if blocked is None:
            entry = pool.pick(upstream, tried)
            if entry is not None:
                return candidate, entry
            if pool.anonymous(upstream) and ANONYMOUS not in tried:
                return candidate, None
        if not failed and not tried:
            reason = f"breaker open for {blocked:.1f} s" if blocked is not None else pool.why_none(upstream)
            trace.attempt(upstream.name, candidate.model.name).end("skipped", reason)
    return None


def outcome(last: UpstreamError | None, candidates: Sequence[Candidate], pool: Pool) -> GatewayError:
    """What the caller is told when nothing answered: the last provider's error, or the state of the pool."""
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
