"""Claim the stream of a token that may have one at a time, for one request.

Other processes may use the same token, so the claim is a row of the database
(`tokens/pool/stream_claims.py`).
"""

import time
from collections.abc import Sequence
from uuid import UUID

from providers.catalogue import Candidate
from providers.exceptions import PoolResting
from providers.fast_settings import settings
from providers.protocol.request import ChatRequest
from tokens.failover.chooser import Choice, Chooser
from tokens.failover.tries import Tries
from tokens.pool.pool import Pool

RETRY_BUSY_POOL_SECONDS = 5  # Retry-After for a caller while all streams are in use
ALL_BUSY = "Every upstream token for this model is answering another request."


class SingleStream:
    """The stream that one request has claimed, if any."""

    __slots__ = ("_chooser", "_pool", "_request", "_token_id", "_tries")

    def __init__(self, request: ChatRequest, pool: Pool, chooser: Chooser, tries: Tries) -> None:
        self._request = request
        self._pool = pool
        self._chooser = chooser
        self._tries = tries
        self._token_id: UUID | None = None  # of the claimed stream

    async def claim_choice(
        self, choice: Choice | None, candidates: Sequence[Candidate]
    ) -> Choice | None:
        """Claim the stream of this choice's token, or of a later one, and return the choice.

        A choice that needs no claim is returned as it is. Waits while all streams are in use.
        Raises PoolResting, DatabaseUnavailable.
        """
        if not self._needs_claim(choice):
            return choice
        until = min(self._tries.deadline, time.perf_counter() + settings.CLAIM_WAIT_SECONDS)
        if await self._wait_for_resumed_token():
            choice = self._chooser.choose_next(candidates)
        while self._needs_claim(choice):
            if choice is None:
                await self._wait_for_any_stream(until)
            elif await self._claim_token(choice):
                return choice
            choice = self._chooser.choose_next(candidates)
        return choice

    def _needs_claim(self, choice: Choice | None) -> bool:
        """Return whether a stream must be claimed, or waited for when there is no choice."""
        if choice is None:
            return self._pool.is_shared and self._chooser.has_busy_tokens
        if choice.entry is None or choice.entry.id == self._token_id:
            return False
        return self._pool.is_shared and choice.candidate.adapter.has_single_stream

    async def _claim_token(self, choice: Choice) -> bool:
        """Claim the stream of the choice's token; return False when another request has it.

        A request has one claim at most: the stream of an earlier token is released first.
        """
        entry = choice.entry
        assert entry is not None  # noqa: S101
        self.release()
        if not await self._pool.stream_claims.claim_stream(
            entry.id, self._request.id, entry.provider_id, self._tries.deadline
        ):
            return False
        self._token_id = entry.id
        return True

    async def _wait_for_any_stream(self, until: float) -> None:
        """Wait until some stream may have ended. Raises PoolResting after `until`."""
        remaining = until - time.perf_counter()
        if remaining <= 0:
            raise PoolResting(ALL_BUSY, retry_after_seconds=RETRY_BUSY_POOL_SECONDS)
        await self._pool.stream_claims.wait_until_freed(remaining)

    async def _wait_for_resumed_token(self) -> bool:
        """Wait a moment for the token that has the conversation: its stream may be ending.

        Returns whether it was in use.
        """
        resume = self._request.resume
        claims = self._pool.stream_claims
        if resume is None or resume.token_id in self._tries.failed_token_ids:
            return False
        if resume.token_id == self._token_id:  # this request itself has the stream
            return False
        until = time.perf_counter() + settings.RESUME_WAIT_SECONDS
        was_busy = False
        while resume.token_id in claims.find_busy_tokens():
            was_busy = True
            remaining = until - time.perf_counter()
            if remaining <= 0:
                break
            await claims.wait_until_freed(remaining)
        return was_busy

    def release(self) -> None:
        """Release the stream, if one is claimed."""
        if self._token_id is not None:
            self._pool.stream_claims.release_stream(self._token_id)
            self._token_id = None
