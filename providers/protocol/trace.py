"""Everything that happened to one request: its attempts, its usage and its strategy's result."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct, field

from providers.protocol.attempt import ANSWERING_OUTCOMES, SKIPPED, Attempt
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest
from providers.protocol.usage_meter import UsageMeter


class Reservation(Protocol):
    """The part of the caller's limits that a request has reserved."""

    def settle(self, meter: UsageMeter) -> None:
        """Replace what was reserved by what was used."""

    def record_commit(self) -> None:
        """Note that the usage record is committed."""


class StrategyResult(Struct):
    """The outcome of a strategy beside the answer itself. Only the strategy writes it.

    `thinking` are its intermediate results as JSON, whether the caller gets them or not. `preface`
    is the part of them that the caller gets in front of the answer's text; it is never sent to a
    model.
    """

    thinking: JsonObject = {}
    preface: str = ""


class Trace(Struct):
    """Everything that happened to one request so far; the ledger saves it once.

    Failover adds the attempts and meters each upstream call, and the strategy writes its result.
    """

    request: ChatRequest
    key_id: int | None = None
    user_id: int | None = None
    team_id: int | None = None  # of the user
    end_user_id: int | None = None  # where the key has limits for each end user
    client: str = ""  # the caller's program
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    started_seconds: float = field(default_factory=time.perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    queue_ms: float | None = None  # until the first attempt began
    first_byte_ms: float | None = None
    meter: UsageMeter = field(default_factory=UsageMeter)
    strategy_result: StrategyResult = field(default_factory=StrategyResult)
    claim_call: Callable[[], bool] | None = None  # counts one more upstream call; None: no limit
    reservation: Reservation | None = None  # of the caller's limits

    def add_attempt(
        self,
        provider: str,
        model: str,
        token_id: UUID | None = None,
        provider_id: int | None = None,
    ) -> Attempt:
        """Create an attempt and add it to the trace."""
        attempt = Attempt(provider, model, token_id, provider_id, claim_call=self.claim_call)
        if self.queue_ms is None:
            self.queue_ms = (attempt.started_seconds - self.started_seconds) * 1000
        self.attempts.append(attempt)
        return attempt

    def begin_inner(self, request: ChatRequest, claim_call: Callable[[], bool]) -> "Trace":
        """Return the trace of an inner call, whose usage counts as this request's.

        `claim_call` counts one more upstream call for it, and returns False when there may be none.
        """
        return Trace(
            request, started_seconds=self.started_seconds, meter=self.meter, claim_call=claim_call
        )

    def add_attempts(self, inner: "Trace", label: str) -> None:
        """Add the attempts of an inner call that has ended; `label` names its purpose."""
        for attempt in inner.attempts:
            if attempt.outcome != SKIPPED:
                attempt.reason = f"{label}: {attempt.reason}" if attempt.reason else label
        self.attempts += inner.attempts
        if self.queue_ms is None:
            self.queue_ms = inner.queue_ms

    def record_first_byte(self) -> None:
        """Record that the first chunk of the answer is there."""
        self.first_byte_ms = (time.perf_counter() - self.started_seconds) * 1000

    def claim_next_call(self) -> bool:
        """Return whether one more upstream call may be made.

        It is asked before each call but the first. True also counts the call, so the call must be
        made.
        """
        return self.claim_call is None or self.claim_call()

    def attempts_as_dicts(self) -> list[JsonObject]:
        """Return the ledger's `attempts`: an entry for each upstream call or skipped candidate."""
        return [
            entry for attempt in self.attempts for entry in attempt.as_dicts(self.started_seconds)
        ]

    @property
    def last_attempt(self) -> Attempt | None:
        """Return the last upstream call; without any, the candidate that was skipped last."""
        for attempt in reversed(self.attempts):
            if attempt.outcome != SKIPPED:
                return attempt
        return self.attempts[-1] if self.attempts else None

    @property
    def answering_attempt(self) -> Attempt | None:
        """Return the attempt that answered the caller, at least in part, or None.

        When the caller has left, it is the attempt whose answer was awaited.
        """
        for attempt in reversed(self.attempts):
            if attempt.outcome in ANSWERING_OUTCOMES:
                return attempt
        return None
