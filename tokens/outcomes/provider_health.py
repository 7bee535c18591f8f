"""What this process has learnt of one provider: whether it fails, may be retried, or limits us."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from tokens.outcomes.breaker import Breaker
from tokens.outcomes.retry_budget import RetryBudget

if TYPE_CHECKING:
    from tokens.outcomes.upstream_call import Call

SAME_LIMIT_SECONDS = 10.0  # within which refusals belong together
UNANSWERED_SECONDS = 1.0  # without an answer, before refusals that name nobody mean the provider
TOKENS_OF_ORGANIZATION = 3  # limited ones that show that their organization is
TOKENS_OF_PROVIDER = 10  # limited ones, with one and the same answer, that show that all are
UNDECIDED_SECONDS = 1.0  # for which the breaker waits for calls with tokens that have not failed
PROMISE_SECONDS = 15.0  # without any answer, after which running calls promise nothing any more


class LimitWatch:
    """Finds out that not single tokens are limited, but all of a provider together.

    A sign of it is the same refusal for one token after the other, with no answer in between. Few
    are enough where the refusal names the organization to which the tokens belong.
    """

    __slots__ = ("_key", "_started_at", "tokens")

    def __init__(self) -> None:
        self._key = ""
        self._started_at = 0.0
        self.tokens: set[UUID] = set()

    def record_refusal(self, now: float, token_id: UUID, message: str, organization: str) -> bool:
        """Record a rate limit; returns whether it is one of the whole provider."""
        key = organization or message
        if key != self._key or now - self._started_at > SAME_LIMIT_SECONDS:
            self._key = key
            self._started_at = now
            self.tokens.clear()
        self.tokens.add(token_id)
        if organization:
            return len(self.tokens) >= TOKENS_OF_ORGANIZATION
        lasts = now - self._started_at >= UNANSWERED_SECONDS
        return lasts and len(self.tokens) >= TOKENS_OF_PROVIDER

    def clear(self) -> None:
        """Forget the refusals: the provider has answered."""
        self._key = ""
        self.tokens.clear()


def new_breaker() -> Breaker:
    return Breaker(settings.BREAKER_FAILURES, settings.BREAKER_SECONDS)


@dataclass(slots=True)
class Health:
    """`running` has the calls that are under way and when they began, the oldest first."""

    breaker: Breaker = field(default_factory=new_breaker)
    budget: RetryBudget = field(default_factory=RetryBudget)
    limits: LimitWatch = field(default_factory=LimitWatch)
    running: "dict[Call, float]" = field(default_factory=dict)
    failing_since: float | None = None  # the first failure since the last answer
    slowest_failure: float = 0.0  # seconds that a failure took at most, since then

    def begin(self, call: "Call", now: float) -> None:
        """Note that a call is about to be made."""
        self.running[call] = now
        if self.breaker.open_until:
            self.breaker.begin(call.request_id, now)
        if call.failed is None:
            self.budget.count_request(now)

    def end(self, call: "Call", now: float, *, answered: bool = False) -> None:
        """Note that a call has ended."""
        self.running.pop(call, None)
        if answered:
            self.failing_since = None

    def end_failed(self, call: "Call", now: float) -> None:
        """Note that the provider failed a call."""
        if self.failing_since is None:
            self.failing_since = now
            self.slowest_failure = 0.0
        began = self.running.pop(call, now)
        self.slowest_failure = max(self.slowest_failure, now - began)

    def is_healthy(self, now: float) -> bool:
        """Return whether the provider answers other requests, or is likely to."""
        return self.breaker.is_healthy(now) or self.is_promising(now)

    def is_promising(self, now: float) -> bool:
        """Return whether a call is running for longer than failures take here.

        Its token has not failed, so it is likely to be answered: the provider does not fail with
        all tokens. Where no answer comes for some time, running calls are no sign of health.
        """
        if self.breaker.is_open or self.failing_since is None:
            return False
        if now - self.failing_since > PROMISE_SECONDS:
            return False
        longer = 2 * self.slowest_failure + 0.05
        for call, began in self.running.items():
            if now - began < longer:
                return False
            if call.entry is not None and not call.entry.failures:
                return True
        return False

    def should_open(self, now: float, *, only_token: bool) -> bool:
        """Return whether the breaker should open: enough has failed, and no call that runs may
        still show that the fault is of single tokens.
        """
        if not self.breaker.should_open(now, only_token=only_token) or self.is_promising(now):
            return False
        began = now if self.failing_since is None else self.failing_since
        return now - began > UNDECIDED_SECONDS or not self.is_undecided()

    def is_undecided(self) -> bool:
        """Return whether a call is running with a token that has not failed."""
        return any(call.entry is not None and not call.entry.failures for call in self.running)
