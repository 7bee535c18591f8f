"""Everything that happened to one request: a Trace with an Attempt for each upstream call."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from providers.protocol.request import ChatRequest
from providers.upstream.rate_limits import Limit

ANSWERING = ("answered", "running", "cut", "abandoned")
# the recorded reason of a call that was sent again
SENT_AGAIN = "sent again: the kept connection was closed"


class Attempt(Struct):
    """One upstream call, or one skipped candidate, and how it ended. Times in milliseconds.

    A request that met a closed connection is sent again on a new one, with the same credential
    (`begin_resend`). These are two upstream calls: `as_dicts` has an entry for each, and code that
    counts calls adds one for `resent`.
    """

    provider: str
    model: str
    token_id: UUID | None = None
    provider_id: int | None = None
    outcome: str = "running"  # "answered", "skipped", or the name of the error class
    reason: str = ""
    status: int | None = None
    began: float = field(default_factory=time.perf_counter)
    deadline: float = float("inf")  # of the whole request, on the clock of `began`
    patience: float | None = None  # seconds until the first byte must be there
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None
    limit: Limit | None = None  # set when the answer says that the rate limit is used up
    lacks_call: bool = False  # a tool call was required, and the model made none
    chat_id: str = ""  # of the chat that the upstream stores
    parent_id: str = ""  # of the last message in that chat
    unshown: list[str] | None = None  # thinking that the caller does not get
    more: Callable[[], bool] | None = None  # as in Trace: called before the request is sent again
    may_resend: bool = True  # False: no further upstream call may be made for this attempt
    # the call that met a closed connection, as the ledger stores it
    closed_call: dict[str, Any] | None = None

    @property
    def resent(self) -> bool:
        """Return whether this attempt took two upstream calls."""
        return self.closed_call is not None

    def begin_resend(self) -> bool:
        """Record that the kept connection was closed, and begin a second call.

        Returns False when no more calls are allowed; nothing is recorded then.
        """
        if self.resent or not self.may_resend or (self.more is not None and not self.more()):
            return False
        total_ms = (time.perf_counter() - self.began) * 1000
        ended = {"outcome": "Disconnected", "reason": SENT_AGAIN, "total_ms": total_ms}
        self.closed_call = self.as_dict() | ended
        self.began = time.perf_counter()
        self.connect_ms = None
        return True

    def end(self, outcome: str, reason: str = "", status: int | None = None) -> None:
        self.outcome = outcome
        self.reason = reason
        self.status = status
        self.total_ms = (time.perf_counter() - self.began) * 1000

    def as_dict(self) -> dict[str, Any]:
        """Return one entry of the ledger's `attempts`."""
        return {
            "provider": self.provider,
            "model": self.model,
            "token": self.token_id,
            "outcome": self.outcome,
            "reason": self.reason,
            "status": self.status,
            "connect_ms": self.connect_ms,
            "first_byte_ms": self.first_byte_ms,
            "total_ms": self.total_ms,
        }

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the entries of the ledger's `attempts`: one for each upstream call."""
        return [self.as_dict()] if self.closed_call is None else [self.closed_call, self.as_dict()]


class Trace(Struct):
    """Everything that happened to one request so far; the ledger saves it once.

    It and its attempts are the only mutable objects on the request path.
    """

    request: ChatRequest
    key_id: int | None = None
    user_id: int | None = None
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    began: float = field(default_factory=time.perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    queue_ms: float | None = None  # until the first attempt began
    first_byte_ms: float | None = None
    usage: dict[str, Any] | None = None  # as the upstream reported it
    # the text produced, for counting tokens when the upstream reports no usage
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    kept_bytes: int = 0  # size of both in memory; beyond a limit only lengths are kept
    unkept_text: int = 0  # characters of text that were not kept
    unkept_reasoning: int = 0  # characters of reasoning that were not kept
    # bodies of the requests that a strategy made besides the caller's own
    further: list[dict[str, Any]] | None = None
    counted: Any = None  # the usage that the ledger recorded: api.accounting.token_count.Usage
    # a strategy's intermediate thinking as JSON, shown to the caller or not
    extras: dict[str, Any] | None = None
    # the part of it that the caller gets before the answer proper; it is never sent to a model
    preface: str = ""
    more: Callable[[], bool] | None = None  # counts one more upstream call; None: no limit

    def attempt(
        self,
        provider: str,
        model: str,
        token_id: UUID | None = None,
        provider_id: int | None = None,
    ) -> Attempt:
        """Create an attempt and add it to the trace."""
        attempt = Attempt(provider, model, token_id, provider_id, more=self.more)
        if self.queue_ms is None:
            self.queue_ms = (attempt.began - self.began) * 1000
        self.attempts.append(attempt)
        return attempt

    def may_go_on(self) -> bool:
        """Return whether one more upstream call may be made.

        It is asked before each call but the first. True also counts the call, so the call must be
        made.
        """
        return self.more is None or self.more()

    def attempts_as_dicts(self) -> list[dict[str, Any]]:
        """Return the ledger's `attempts`: an entry for each upstream call or skipped candidate."""
        return [entry for attempt in self.attempts for entry in attempt.as_dicts()]

    @property
    def answered_by(self) -> Attempt | None:
        """Return the attempt that answered the caller, at least in part, or None.

        When the caller has left, it is the attempt whose answer was awaited.
        """
        return next((a for a in reversed(self.attempts) if a.outcome in ANSWERING), None)
