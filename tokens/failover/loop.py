"""Call one candidate and token after another until one answers: the only retry loop there is.

The next one is tried only before the first chunk and before the request's deadline. Errors that
concern the token alone cost only time: other tokens are tried without a pause, up to
MAX_TOKENS_TRIED. Attempts that the provider fails are few (MAX_ATTEMPTS), with pauses, and within
the provider's retry budget. An expired token is renewed first. A renewable token that is rejected
is renewed and tried once more. After the first chunk an error ends the stream.
`tokens/outcomes/consequences.py` decides what each outcome does to the token and the provider. The
Trace notes every attempt.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from types import TracebackType

from providers.catalogue import Candidate
from providers.exceptions import (
    AuthRejected,
    Rejected,
    UnreadableToken,
    UpstreamError,
    UpstreamTimeout,
)
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from providers.vault import VaultError
from tokens.failover.chooser import Choice
from tokens.failover.outcome import describe_outcome
from tokens.failover.search import Search
from tokens.pool.pool import Pool
from tokens.renewal.renew_token import Order


async def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the chunks of the first candidate that answers. Raises GatewayError."""
    search = Search(request, candidates, pool, trace)
    deadline = search.deadline
    metered = trace.meter.begin_call(request.body)
    try:
        while (choice := search.choose_first() or await search.find_choice()) is not None:
            candidate, entry, _ = choice
            attempt = metered.attempt = search.new_attempt(choice)
            model = candidate.model_for(request)
            try:
                with Judge(search, choice, attempt) as judge:
                    if entry is not None and entry.renewable:
                        await renew_if_needed(choice, pool, attempt)
                        judge.shown = entry.sealed
                    try:
                        credential = pool.credential(entry)
                    except VaultError as error:
                        raise UnreadableToken(str(error)) from error
                    asked = candidate.adapter.ask(request, model, credential, attempt)
                    async with aclosing(asked) as batches:
                        async for batch in batches:
                            if attempt.first_byte_ms is None:
                                judge.note_first_chunk()
                            metered.record_chunks(batch)
                            yield batch
                            if time.perf_counter() >= deadline:
                                raise UpstreamTimeout("The answer took longer than a request may.")
                if entry is not None and request.conversation:
                    pool.sticky.keep(request.conversation, entry.provider_id, entry.id)
                return
            except UpstreamError as error:
                if attempt.first_byte_ms is not None:
                    raise
                if isinstance(error, Rejected) and not search.leave_small_windows(choice, error):
                    raise
                again = judge.gets_another_chance
                search.record_failure(choice, error, judge.call.failed, again=again)
    finally:
        search.release()
    raise describe_outcome(search)


async def renew_if_needed(choice: Choice, pool: Pool, attempt: Attempt) -> None:
    """Renew the choice's token if it has expired or its present secret was rejected.

    Raises UpstreamError.
    """
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
    except VaultError as error:
        raise UnreadableToken(str(error)) from error


class Judge:
    """A context manager around one attempt, which applies its outcome to token and provider.

    The outcome is noted in the Trace as well. `shown` is the secret (sealed) that a renewable token
    was used with. `gets_another_chance`: the token was rejected, and is renewed and tried once
    more.
    """

    __slots__ = ("_attempt", "_choice", "_pool", "call", "gets_another_chance", "shown")

    def __init__(self, search: Search, choice: Choice, attempt: Attempt) -> None:
        self._pool = search.pool
        self._choice = choice
        self._attempt = attempt
        self.call = search.new_call(choice)
        self.shown: str | None = None
        self.gets_another_chance = False

    def __enter__(self) -> "Judge":
        self.call.health.begin(self.call, time.monotonic())
        return self

    def note_first_chunk(self) -> None:
        """Note that the answer has begun: from now on no other token is tried."""
        attempt = self._attempt
        call = self.call
        attempt.first_byte_ms = (time.perf_counter() - attempt.began) * 1000
        if call.health.breaker.open_until or (call.entry is not None and call.entry.held_until):
            self._pool.record_first_chunk(call)
        if attempt.limit is not None:
            self._pool.record_limit(call, attempt.limit)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        attempt = self._attempt
        pool = self._pool
        if error is None:
            attempt.end("answered", status=attempt.status)
            pool.record_answer(self.call)
        elif isinstance(error, UpstreamError):
            cut = attempt.first_byte_ms is not None
            outcome = "cut" if cut else type(error).__name__
            attempt.end(outcome, error.message, error.upstream_status or attempt.status)
            self._record_error(error, cut=cut)
        else:  # the caller left, or our own code failed
            attempt.end("abandoned", status=attempt.status)
            pool.record_undecided(self.call)

    def _record_error(self, error: UpstreamError, *, cut: bool) -> None:
        call = self.call
        entry = self._choice.entry
        is_first_rejection = (
            isinstance(error, AuthRejected) and not cut and self._choice.rejected is None
        )
        if entry is not None and self.shown is not None and is_first_rejection:
            self.gets_another_chance = True
            self._pool.record_rejected(call, entry, self.shown)
        else:
            call.failed = self._pool.record_error(call, error)
