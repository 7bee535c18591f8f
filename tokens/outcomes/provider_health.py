"""The health of one provider as this process sees it: breaker, retry budget and rate limits."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from tokens.outcomes.breaker import Breaker
from tokens.outcomes.retry_budget import RetryBudget

if TYPE_CHECKING:
    from tokens.outcomes.upstream_call import UpstreamCall

SAME_LIMIT_SECONDS = 10.0  # refusals within this time belong together
UNANSWERED_SECONDS = 1.0  # refusals that name no organization must last so long without an answer
TOKENS_OF_ORGANIZATION = 3  # limited tokens that show that their organization is limited
TOKENS_OF_PROVIDER = 10  # tokens limited with the same message that show that all are limited
UNDECIDED_SECONDS = 1.0  # how long the breaker waits for calls with tokens that have not failed
PROMISING_SECONDS = 15.0  # after this time without an answer, running calls are no sign of health


class LimitWatch:
    """A watch for rate limits that concern all tokens of a provider, not single ones.

    The sign is the same refusal for one token after another, with no answer in between. Few tokens
    are enough if the refusal names the organization to which they belong.
    """

    __slots__ = ("_key", "_started_at", "limited_token_ids")

    def __init__(self) -> None:
        self._key = ""
        self._started_at = 0.0
        self.limited_token_ids: set[UUID] = set()

    def record_refusal(self, now: float, token_id: UUID, message: str, organization: str) -> bool:
        """Record a rate limit; return whether it concerns the whole provider."""
        key = organization or message
        if key != self._key or now - self._started_at > SAME_LIMIT_SECONDS:
            self._key = key
            self._started_at = now
            self.limited_token_ids.clear()
        self.limited_token_ids.add(token_id)
        if organization:
            return len(self.limited_token_ids) >= TOKENS_OF_ORGANIZATION
        is_unanswered = now - self._started_at >= UNANSWERED_SECONDS
        return is_unanswered and len(self.limited_token_ids) >= TOKENS_OF_PROVIDER

    def clear_refusals(self) -> None:
        """Forget the refusals: the provider has answered."""
        self._key = ""
        self.limited_token_ids.clear()


def new_breaker() -> Breaker:
    return Breaker(settings.BREAKER_FAILURES, settings.BREAKER_SECONDS)


@dataclass(slots=True)
class ProviderHealth:
    """The state of one provider in this process.

    `running_calls` has the calls in progress and the time when each began, the oldest first.
    """

    breaker: Breaker = field(default_factory=new_breaker)
    retry_budget: RetryBudget = field(default_factory=RetryBudget)
    limit_watch: LimitWatch = field(default_factory=LimitWatch)
    running_calls: "dict[UpstreamCall, float]" = field(default_factory=dict)
    failing_since: float | None = None  # the first failure since the last answer
    slowest_failure_seconds: float = 0.0  # seconds that a failure took at most, since then

    def begin_call(self, call: "UpstreamCall", now: float) -> None:
        """Note that a call is about to be made."""
        self.running_calls[call] = now
        if self.breaker.open_until:
            self.breaker.begin_probe(call.request_id, now)
        if call.failed_request is None:
            self.retry_budget.count_request(now)

    def end_call(self, call: "UpstreamCall", now: float, *, answered: bool = False) -> None:
        """Note that a call has ended."""
        self.running_calls.pop(call, None)
        if answered:
            self.failing_since = None

    def end_failed_call(self, call: "UpstreamCall", now: float) -> None:
        """Note that the provider failed a call."""
        if self.failing_since is None:
            self.failing_since = now
            self.slowest_failure_seconds = 0.0
        began = self.running_calls.pop(call, now)
        self.slowest_failure_seconds = max(self.slowest_failure_seconds, now - began)

    def is_healthy(self, now: float) -> bool:
        """Return whether the provider answers other requests, or is likely to."""
        return self.breaker.is_healthy(now) or self.has_promising_call(now)

    def has_promising_call(self, now: float) -> bool:
        """Return whether a call is running for longer than failures take here.

        Its token has not failed, so the call is likely to be answered: the provider does not fail
        with all tokens. If no answer comes for PROMISING_SECONDS, running calls are no sign of
        health.
        """
        if self.breaker.is_open or self.failing_since is None:
            return False
        if now - self.failing_since > PROMISING_SECONDS:
            return False
        longer_than_failures = 2 * self.slowest_failure_seconds + 0.05
        for call, began in self.running_calls.items():
            if now - began < longer_than_failures:
                return False
            if call.entry is not None and not call.entry.failures_in_row:
                return True
        return False

    def should_open(self, now: float, *, only_token: bool) -> bool:
        """Return whether the breaker should open.

        Enough requests must have failed, and no running call may still show that only single tokens
        are at fault.
        """
        if not self.breaker.should_open(now, only_token=only_token) or self.has_promising_call(now):
            return False
        if self.failing_since is not None and now - self.failing_since > UNDECIDED_SECONDS:
            return True
        return not self.has_undecided_call()

    def has_undecided_call(self) -> bool:
        """Return whether a call is running with a token that has not failed."""
        return any(
            call.entry is not None and not call.entry.failures_in_row for call in self.running_calls
        )
