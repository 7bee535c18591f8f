"""One upstream call within a request, and how it ended."""

import time
from collections.abc import Callable
from uuid import UUID

from msgspec import Struct, field

from providers.protocol.billed_units import BilledUnits
from providers.protocol.json_types import JsonObject
from providers.upstream.rate_limits import RateLimit

ANSWERING_OUTCOMES = ("answered", "running", "cut", "abandoned")
SKIPPED = "skipped"  # the outcome of a candidate that was not called
# the recorded reason of a call that was sent again
RESEND_REASON = "sent again: the kept connection was closed"


class Attempt(Struct):
    """One upstream call, or one skipped candidate, and how it ended. Times in milliseconds.

    A request that met a closed connection is sent again on a new one, with the same credential
    (`begin_resend`). These are two upstream calls: `as_dicts` has an entry for each, and code that
    counts calls adds one for `is_resent`.
    """

    provider: str
    model: str
    token_id: UUID | None = None
    provider_id: int | None = None
    outcome: str = "running"  # "answered", SKIPPED, or the name of the error class
    reason: str = ""
    status: int | None = None
    started_seconds: float = field(default_factory=time.perf_counter)
    deadline: float = float("inf")  # of the whole request, on the clock of `started_seconds`
    patience_seconds: float | None = None  # seconds until the first byte must be there
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None
    limit: RateLimit | None = None  # set when the answer says that the rate limit is used up
    lacks_tool_call: bool = False  # a tool call was required, and the model made none
    chat_id: str = ""  # of the chat that the upstream stores
    parent_id: str = ""  # of the last message in that chat
    hidden_thinking: list[str] | None = None  # thinking that the caller does not get
    keeps_thinking: bool = False  # the upstream wants the hidden thinking back in later requests
    omitted_fields: list[str] = []  # fields of the body that the upstream did not get
    # of its answer, as TokenUsage has them; set where the request made several calls
    tokens: JsonObject | None = None
    units: BilledUnits | None = None  # that the call is billed by, besides tokens
    # as in Trace: called before the request is sent again
    claim_call: Callable[[], bool] | None = None
    may_resend: bool = True  # False: no further upstream call may be made for this attempt
    # the call that met a closed connection, as the ledger stores it
    closed_call: JsonObject | None = None
    closed_started_seconds: float = 0.0  # when that call began

    @property
    def is_resent(self) -> bool:
        """Return whether this attempt took two upstream calls."""
        return self.closed_call is not None

    def begin_resend(self) -> bool:
        """Record that the kept connection was closed, and begin a second call.

        Returns False when no more calls are allowed; nothing is recorded then.
        """
        if self.is_resent or not self.may_resend:
            return False
        if self.claim_call is not None and not self.claim_call():
            return False
        total_ms = (time.perf_counter() - self.started_seconds) * 1000
        end = {"outcome": "Disconnected", "reason": RESEND_REASON, "total_ms": total_ms}
        self.closed_call = self.as_dict() | end
        self.closed_started_seconds = self.started_seconds
        self.started_seconds = time.perf_counter()
        self.connect_ms = None
        return True

    def record_end(self, outcome: str, reason: str = "", status: int | None = None) -> None:
        """Record how the call ended, and how long it took; without a reason its note stays."""
        self.outcome = outcome
        self.reason = reason or self.reason
        self.status = status
        if outcome not in ANSWERING_OUTCOMES:
            self.units = None  # nothing was answered, so nothing is billed
        self.total_ms = (time.perf_counter() - self.started_seconds) * 1000

    def as_dict(self) -> JsonObject:
        """Return one entry of the ledger's `attempts`."""
        entry: JsonObject = {
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
        if self.omitted_fields:
            entry["omitted"] = self.omitted_fields
        if self.units is not None:
            entry["units"] = self.units.as_dict()
        if self.tokens is not None:
            entry["provider_id"] = self.provider_id
            entry["tokens"] = self.tokens
        return entry

    def as_dicts(self, request_started_seconds: float) -> list[JsonObject]:
        """Return the entries of the ledger's `attempts`: one for each upstream call.

        `start_ms` is when the call began, from the begin of the request on.
        """
        entry = self.as_dict()
        entry["start_ms"] = (self.started_seconds - request_started_seconds) * 1000
        if self.closed_call is None:
            return [entry]
        start_ms = (self.closed_started_seconds - request_started_seconds) * 1000
        return [self.closed_call | {"start_ms": start_ms}, entry]
