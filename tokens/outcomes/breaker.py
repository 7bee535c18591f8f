"""A provider's circuit breaker: a provider that fails is called less.

closed --failures of several requests and tokens--> open --a pause--> half-open, one probe
half-open --the probe is answered--> closed          --the probe fails--> open, twice the pause

One request counts once, however many calls it made. A breaker opened by the requests of one or two
callers lets the requests of other callers through: the fault may be in the content of those
requests. A breaker opened by requests for one model lets requests for other models through.

Times are seconds of the monotonic clock, except `opened_at`. The state belongs to this process;
`tokens/outcomes/breaker_sharing.py` tells the other processes.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from tokens.outcomes.breaker_sharing import BreakerHint

LONGEST_PAUSE_SECONDS = 60.0
WINDOW_REQUESTS = 20  # only the latest requests are looked at …
WINDOW_SECONDS = 30.0  # … and no older ones
FAILURE_SHARE = 0.5  # share of them that must have failed
SEVERAL_TOKENS = 2
SEVERAL_CALLERS = 3
HEALTHY_SECONDS = 5.0  # how long an answer is a sign of health
PROBE_WAIT_SECONDS = 1.0  # while another request's probe of the half-open state is running

# causes of an open breaker: the provider fails, or limits us as a whole
CAUSE_FAILED = "failed"
CAUSE_LIMITED = "limited"


class FailedCall(NamedTuple):
    """A call that the provider failed: the caller, the token and the model."""

    caller_id: int | None
    token_id: UUID | None  # None: the call showed no token
    model_name: str = ""


@dataclass(slots=True, eq=False)
class FailedRequest:
    """A request that the provider failed at least once."""

    failed_at: float
    caller_id: int | None
    model_name: str = ""
    token_ids: set[UUID | None] = field(default_factory=set)
    is_answered: bool = False  # by a later call


@dataclass(slots=True)
class Breaker:
    """The circuit breaker of one provider.

    It opens after `failure_limit` failed requests, for `pause_seconds` at first.
    """

    failure_limit: int
    pause_seconds: float
    open_until: float = 0.0  # 0: closed
    opened_at: datetime | None = None
    cause: str = CAUSE_FAILED
    reason: str = ""
    openings_in_row: int = 0
    probe_request: object | None = None  # the request that is the probe of the half-open state
    answered_at: float = float("-inf")
    change_count: int = 0  # how often it opened or closed
    failed_caller_ids: set[int | None] = field(default_factory=set)
    failed_model_names: set[str] = field(default_factory=set)
    # the latest requests: failures, and the times of answers
    _outcomes: deque["FailedRequest | float"] = field(
        default_factory=lambda: deque(maxlen=WINDOW_REQUESTS)
    )

    def find_blocked_seconds(
        self, now: float, caller_id: int | None = None, model_name: str = ""
    ) -> float | None:
        """Return the seconds until the provider may be asked again; None when it may be now."""
        if not self.open_until:
            return None
        if now < self.open_until:
            if self._lets_through(caller_id, model_name):
                return None
            return self.open_until - now
        if self.probe_request is not None:
            return PROBE_WAIT_SECONDS
        return None

    def _lets_through(self, caller_id: int | None, model_name: str) -> bool:
        """Return whether the open breaker lets a request of this caller for this model through."""
        if self.cause != CAUSE_FAILED:
            return False
        failed_few_callers = 0 < len(self.failed_caller_ids) < SEVERAL_CALLERS
        if failed_few_callers and caller_id is not None and caller_id not in self.failed_caller_ids:
            return True
        failed_one_model = len(self.failed_model_names) == 1
        return failed_one_model and bool(model_name) and model_name not in self.failed_model_names

    @property
    def is_open(self) -> bool:
        """Return whether the breaker is open or half-open."""
        return self.open_until > 0

    def is_healthy(self, now: float) -> bool:
        """Return whether the provider answered lately, and most of the latest requests."""
        if self.open_until or now - self.answered_at > HEALTHY_SECONDS:
            return False
        failed, request_count = self._find_recent_requests(now)
        return len(failed) < FAILURE_SHARE * request_count

    def begin_probe(self, request: object, now: float) -> None:
        """Note that a call is about to be made: in the half-open state it is the probe."""
        if self.open_until and now >= self.open_until:
            self.probe_request = request

    def record_answer(self, now: float, failed_request: FailedRequest | None = None) -> None:
        """Record that the provider answered; `failed_request` has earlier failures here."""
        self.answered_at = now
        if failed_request is None:
            self._outcomes.append(now)
        else:
            failed_request.is_answered = True
        if self.open_until:
            self.close_circuit()

    def record_refusal(self, now: float) -> None:
        """Record that the provider refused a call because of the token or the request.

        The provider itself does not fail then, although nobody got an answer.
        """
        self._outcomes.append(now)
        if self.open_until and self.cause == CAUSE_FAILED:
            self.close_circuit()

    def close_circuit(self) -> None:
        """Close the breaker, so that the provider is asked as usual again."""
        self.open_until = 0.0
        self.openings_in_row = 0
        self.probe_request = None
        self.opened_at = None
        self.cause = CAUSE_FAILED
        self.reason = ""
        self.failed_caller_ids.clear()
        self.failed_model_names.clear()
        self._outcomes = deque(
            (outcome for outcome in self._outcomes if isinstance(outcome, float)),
            maxlen=WINDOW_REQUESTS,
        )
        self.change_count += 1

    def record_failure(
        self, now: float, failed_request: FailedRequest | None, call: FailedCall
    ) -> FailedRequest:
        """Record that the provider failed a call; return the request's failures at this provider.

        Pass the returned value as `failed_request` with the next failure of the same request.
        """
        if failed_request is None:
            failed_request = FailedRequest(now, call.caller_id, call.model_name)
            self._outcomes.append(failed_request)
        failed_request.token_ids.add(call.token_id)
        if self.open_until:
            self.failed_caller_ids.add(call.caller_id)
            self.failed_model_names.add(call.model_name)
        return failed_request

    def should_open(self, now: float, *, only_token: bool) -> bool:
        """Return whether the latest failures show that the provider is at fault.

        `only_token`: there is no other token that could be tried.
        """
        if self.open_until and now < self.open_until:
            return False
        failed, request_count = self._find_recent_requests(now)
        if len(failed) < self.failure_limit or len(failed) < FAILURE_SHARE * request_count:
            return False
        token_ids = set().union(*(request.token_ids for request in failed))
        return only_token or len(token_ids) >= SEVERAL_TOKENS

    def open_circuit(
        self, now: float, reason: str, *, cause: str = CAUSE_FAILED, seconds: float = 0.0
    ) -> None:
        """Open the breaker for `seconds`, or else for a pause that doubles with each opening.

        The pause begins with `pause_seconds`, is at most LONGEST_PAUSE_SECONDS, and starts again
        when the breaker has closed.
        """
        failed, _ = self._find_recent_requests(now)
        if not self.open_until:
            self.failed_caller_ids = {request.caller_id for request in failed}
            self.failed_model_names = {request.model_name for request in failed}
        pause = min(self.pause_seconds * 2 ** min(self.openings_in_row, 16), LONGEST_PAUSE_SECONDS)
        self.open_until = now + (seconds or pause)
        self.opened_at = datetime.now(UTC)
        self.cause = cause
        self.reason = reason
        self.openings_in_row += 1
        self.probe_request = None
        self.change_count += 1

    def open_from_hint(self, open_until: float, hint: "BreakerHint") -> None:
        """Open because another process's breaker did; no other process has to be told."""
        self.open_until = open_until
        self.opened_at = hint.opened_at or hint.changed_at
        self.cause = hint.cause
        self.reason = hint.reason
        self.failed_caller_ids = set(hint.callers)
        self.failed_model_names = set(hint.models)

    def close_from_hint(self) -> None:
        """Close because another process's breaker did; no other process has to be told."""
        self.close_circuit()
        self.change_count -= 1

    def end_probe(self, request: object) -> bool:
        """End the probe if it is this request, and return whether it was."""
        was_probe = self.probe_request is not None and self.probe_request == request
        if was_probe:
            self.probe_request = None
        return was_probe

    def _find_recent_requests(self, now: float) -> tuple[list[FailedRequest], int]:
        """Return the requests that failed within the window, and the number of all in it."""
        failed = []
        request_count = 0
        window_start = now - WINDOW_SECONDS
        for outcome in self._outcomes:
            if isinstance(outcome, float):
                request_count += outcome > window_start
            elif outcome.failed_at > window_start:
                request_count += 1
                if not outcome.is_answered:
                    failed.append(outcome)
        return failed, request_count
