"""One attempt of a request: an upstream call with one token, and its outcome.

An expired token is renewed first. A renewable token that is rejected is renewed and tried once
more. `tokens/outcomes/consequences.py` decides what each outcome does to the token and the
provider.
"""

import asyncio
import time
from types import TracebackType

from providers.exceptions import AuthRejected, UnreadableToken, UpstreamError, UpstreamTimeout
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.request import Credential
from providers.vault import VaultError
from tokens.failover.candidate_walk import CandidateWalk
from tokens.failover.chooser import Choice
from tokens.renewal.renew_token import RenewalOrder


class UpstreamAttempt:
    """One upstream call, from its choice to its end.

    `receive_first_batch` makes the call. After it, the attempt is a context manager around
    `batches`, the chunks after `first_batch`. At the end it records the outcome in the trace, and
    applies it to the token and the provider.
    """

    __slots__ = (
        "_used_secret",
        "_walk",
        "batches",
        "choice",
        "first_batch",
        "record",
        "record_chunks",
        "upstream_call",
        "wants_retry",
    )

    batches: Batches

    def __init__(self, walk: CandidateWalk, choice: Choice) -> None:
        self._walk = walk
        self.choice = choice
        self.record = walk.add_attempt(choice)
        self._used_secret: str | None = None  # the secret (sealed) of a renewable token
        self.record_chunks = walk.metered_call.record_chunks
        self.upstream_call = walk.build_upstream_call(choice)
        self.first_batch: list[Chunk] | None = None
        self.wants_retry = False  # the token was rejected, and is renewed and tried once more

    async def receive_first_batch(self) -> None:
        """Call the upstream and wait for its first chunks.

        Raises UpstreamError, after its outcome has been applied.
        """
        walk = self._walk
        candidate = self.choice.candidate
        self.upstream_call.health.begin_call(self.upstream_call, time.monotonic())
        try:
            credential = await self._open_credential()
            model = candidate.configure_model(walk.request)
            self.batches = candidate.adapter.ask_upstream(
                walk.request, model, credential, self.record
            )
            self.first_batch = await anext(self.batches, None)
        except BaseException as error:  # also when the caller left: each attempt has its outcome
            self._record_end(error)
            raise
        if self.first_batch is not None:
            self._record_first_chunk()
            self.record_chunks(self.first_batch)

    async def _open_credential(self) -> Credential:
        """Return the token's credential, renewed if need be. Raises UpstreamError."""
        entry = self.choice.entry
        try:
            if entry is not None and entry.is_renewable:
                await self._renew_if_needed()
                self._used_secret = entry.sealed
            return self._walk.pool.open_credential(entry)
        except VaultError as error:
            raise UnreadableToken(str(error)) from error

    async def _renew_if_needed(self) -> None:
        """Renew the token if it has expired or its present secret was rejected.

        Raises UpstreamError, VaultError.
        """
        entry = self.choice.entry
        assert entry is not None  # noqa: S101
        is_rejected = self.choice.rejected_secret == entry.sealed
        if not is_rejected and entry.fresh_until > time.monotonic():
            return
        order = RenewalOrder(entry.id, entry.sealed, is_rejected=is_rejected)
        adapter = self.choice.candidate.adapter
        try:
            async with asyncio.timeout(self._walk.tries.deadline - time.perf_counter()):
                await self._walk.pool.renewals.renew_and_wait(adapter, order)
        except TimeoutError:
            raise UpstreamTimeout("The token was not renewed in time.") from None

    def require_time(self) -> None:
        """Raise UpstreamTimeout when the request's deadline has passed."""
        if time.perf_counter() >= self._walk.tries.deadline:
            raise UpstreamTimeout("The answer took longer than a request may.")

    # --- outcomes ---------------------------------------------------------------------------------
    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._record_end(error)

    def _record_first_chunk(self) -> None:
        """Record that the answer has begun: from now on no other token is tried."""
        attempt = self.record
        call = self.upstream_call
        pool = self._walk.pool
        attempt.first_byte_ms = (time.perf_counter() - attempt.started_seconds) * 1000
        if call.health.breaker.open_until or (call.entry is not None and call.entry.held_until):
            pool.record_first_chunk(call)
        if attempt.limit is not None:
            pool.record_limit(call, attempt.limit)

    def _record_end(self, error: BaseException | None) -> None:
        """Apply the outcome to the trace, the token and the provider; None means answered."""
        attempt = self.record
        pool = self._walk.pool
        if error is None:
            attempt.record_end("answered", status=attempt.status)
            pool.record_answer(self.upstream_call)
            self._keep_token_for_conversation()
        elif isinstance(error, UpstreamError):
            is_cut = attempt.first_byte_ms is not None
            outcome = "cut" if is_cut else type(error).__name__
            attempt.record_end(outcome, error.message, error.upstream_status or attempt.status)
            self._record_error(error, is_cut=is_cut)
        else:  # the caller left, or our own code failed
            attempt.record_end("abandoned", status=attempt.status)
            pool.record_undecided(self.upstream_call)

    def _record_error(self, error: UpstreamError, *, is_cut: bool) -> None:
        call = self.upstream_call
        entry = self.choice.entry
        is_first_rejection = (
            isinstance(error, AuthRejected) and not is_cut and self.choice.rejected_secret is None
        )
        if entry is not None and self._used_secret is not None and is_first_rejection:
            self.wants_retry = True
            self._walk.pool.record_rejection(call, entry, self._used_secret)
        else:
            call.failed_request = self._walk.pool.record_error(call, error)

    def _keep_token_for_conversation(self) -> None:
        """Let later requests of the conversation use this token while it is healthy."""
        conversation = self._walk.request.conversation
        entry = self.choice.entry
        if conversation and entry is not None:
            self._walk.pool.sticky_tokens.store_token_id(conversation, entry.provider_id, entry.id)
