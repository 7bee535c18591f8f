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
from tokens.failover.search import ChoiceSearch
from tokens.pool.pool import Pool
from tokens.renewal.renew_token import RenewalOrder


async def answer(
    request: ChatRequest, candidates: Sequence[Candidate], pool: Pool, trace: Trace
) -> Batches:
    """Yield the chunks of the first candidate that answers. Raises GatewayError."""
    search = ChoiceSearch(request, candidates, pool, trace)
    deadline = search.deadline
    metered = trace.meter.begin_call(request.body)
    try:
        while (choice := search.choose_first() or await search.find_choice()) is not None:
            candidate, entry, _ = choice
            attempt = metered.attempt = search.add_attempt(choice)
            model = candidate.configure_model(request)
            try:
                with OutcomeRecorder(search, choice, attempt) as judge:
                    if entry is not None and entry.is_renewable:
                        await renew_if_needed(choice, pool, attempt)
                        judge.used_secret = entry.sealed
                    try:
                        credential = pool.open_credential(entry)
                    except VaultError as error:
                        raise UnreadableToken(str(error)) from error
                    asked = candidate.adapter.ask_upstream(request, model, credential, attempt)
                    async with aclosing(asked) as batches:
                        async for batch in batches:
                            if attempt.first_byte_ms is None:
                                judge.record_first_chunk()
                            metered.record_chunks(batch)
                            yield batch
                            if time.perf_counter() >= deadline:
                                raise UpstreamTimeout("The answer took longer than a request may.")
                if entry is not None and request.conversation:
                    pool.sticky_tokens.store_token_id(
                        request.conversation, entry.provider_id, entry.id
                    )
                return
            except UpstreamError as error:
                if attempt.first_byte_ms is not None:
                    raise
                if isinstance(error, Rejected) and not search.remove_small_windows(choice, error):
                    raise
                again = judge.wants_retry
                search.record_failure(choice, error, judge.call.failed_request, wants_retry=again)
    finally:
        search.release_stream()
    raise describe_outcome(search)


async def renew_if_needed(choice: Choice, pool: Pool, attempt: Attempt) -> None:
    """Renew the choice's token if it has expired or its present secret was rejected.

    Raises UpstreamError.
    """
    entry = choice.entry
    assert entry is not None  # noqa: S101
    rejected = choice.rejected_secret == entry.sealed
    if not rejected and entry.fresh_until > time.monotonic():
        return
    order = RenewalOrder(entry.id, entry.sealed, is_rejected=rejected)
    try:
        async with asyncio.timeout(attempt.deadline - time.perf_counter()):
            await pool.renewals.renew_and_wait(choice.candidate.adapter, order)
    except TimeoutError:
        raise UpstreamTimeout("The token was not renewed in time.") from None
    except VaultError as error:
        raise UnreadableToken(str(error)) from error


class OutcomeRecorder:
    """A context manager around one attempt, which applies its outcome to token and provider.

    The outcome is noted in the Trace as well. `used_secret` is the secret (sealed) that a renewable
    token was used with. `wants_retry`: the token was rejected, and is renewed and tried once more.
    """

    __slots__ = ("_attempt", "_choice", "_pool", "call", "used_secret", "wants_retry")

    def __init__(self, search: ChoiceSearch, choice: Choice, attempt: Attempt) -> None:
        self._pool = search.pool
        self._choice = choice
        self._attempt = attempt
        self.call = search.build_upstream_call(choice)
        self.used_secret: str | None = None
        self.wants_retry = False

    def __enter__(self) -> "OutcomeRecorder":
        self.call.health.begin_call(self.call, time.monotonic())
        return self

    def record_first_chunk(self) -> None:
        """Note that the answer has begun: from now on no other token is tried."""
        attempt = self._attempt
        call = self.call
        attempt.first_byte_ms = (time.perf_counter() - attempt.started_seconds) * 1000
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
            attempt.record_end("answered", status=attempt.status)
            pool.record_answer(self.call)
        elif isinstance(error, UpstreamError):
            cut = attempt.first_byte_ms is not None
            outcome = "cut" if cut else type(error).__name__
            attempt.record_end(outcome, error.message, error.upstream_status or attempt.status)
            self._record_error(error, cut=cut)
        else:  # the caller left, or our own code failed
            attempt.record_end("abandoned", status=attempt.status)
            pool.record_undecided(self.call)

    def _record_error(self, error: UpstreamError, *, cut: bool) -> None:
        call = self.call
        entry = self._choice.entry
        is_first_rejection = (
            isinstance(error, AuthRejected) and not cut and self._choice.rejected_secret is None
        )
        if entry is not None and self.used_secret is not None and is_first_rejection:
            self.wants_retry = True
            self._pool.record_rejection(call, entry, self.used_secret)
        else:
            call.failed_request = self._pool.record_error(call, error)
