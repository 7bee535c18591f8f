"""The error for a request that nobody answered: the last provider's error, or the pool's state.

Each way to fail has its own class, and so its own status, code and text; docs/errors.md lists them.
Numbers in a text are those of this moment.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.exceptions import (
    AuthRejected,
    DeadlineExceeded,
    GatewayError,
    InvalidKey,
    ModelMissing,
    NoAvailableToken,
    NoTokenAnswered,
    PoolEmpty,
    PoolResting,
    ProviderDown,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    TokenError,
    UpstreamError,
)
from providers.upstream.base_adapter import Upstream
from tokens.outcomes.breaker import CAUSE_LIMITED
from tokens.token_counts import TokenCounts

if TYPE_CHECKING:
    from tokens.failover.candidate_walk import CandidateWalk

LONGEST_RETRY_AFTER_SECONDS = 120.0  # after a longer wait a caller may as well ask again
RETRY_SOON_SECONDS = 1.0
RETRY_DISABLED_POOL_SECONDS = 60.0  # disabled tokens are checked regularly and may come back
TOKEN_ERROR_WORDS: dict[str, str] = {
    "AuthRejected": "rejected",
    "RateLimited": "limited",
    "QuotaExhausted": "out of quota",
    "UnreadableToken": "unreadable",
}


@dataclass(frozen=True, slots=True)
class ProviderSituation:
    """The state of one provider of the model.

    `wait_seconds` is the time in seconds until it can be asked, None if waiting does not help.
    """

    name: str
    counts: TokenCounts
    wait_seconds: float | None
    is_failing: bool  # the wait is for its circuit breaker
    has_untried: bool  # it has a ready token that this request has not tried


def describe_outcome(walk: "CandidateWalk") -> GatewayError:
    """Return the error of a request that nobody answered."""
    last = walk.tries.last_error
    if not walk.pool.is_shared and isinstance(last, TokenError):
        return _describe_caller_tokens(last)
    if last is not None and not isinstance(last, TokenError):
        return _describe_last_error(last)
    if time.perf_counter() >= walk.tries.deadline:
        tried = _format_number(len(walk.tries.failed_token_ids), "token")
        text = f"The request's time was over after {tried} had been tried."
        return DeadlineExceeded(text, retry_after_seconds=RETRY_SOON_SECONDS)
    situations = find_situations(walk)
    if last is not None and any(one.has_untried for one in situations):
        return _describe_untried_tokens(walk, situations)
    return describe_pool(situations, last)


def _describe_caller_tokens(last_error: TokenError) -> GatewayError:
    """Return the error of a request whose own tokens failed; the text says why."""
    if isinstance(last_error, AuthRejected):
        return InvalidKey(
            "The upstream accepts none of the tokens that the request carries. If you meant an API "
            "key of this gateway, it is not known here."
        )
    if isinstance(last_error, QuotaExhausted):
        text = "The tokens that the request carries have no quota left at the upstream."
    else:
        text = "The upstream limits the rate of the tokens that the request carries."
    return PoolResting(text, retry_after_seconds=_bound_retry_after(last_error.retry_after_seconds))


def _describe_last_error(last_error: UpstreamError) -> UpstreamError:
    if isinstance(last_error, ModelMissing):
        last_error.param = "model"
    elif isinstance(last_error, ProviderError) and last_error.retry_after_seconds is None:
        last_error.retry_after_seconds = RETRY_SOON_SECONDS
    return last_error


def _describe_untried_tokens(
    walk: "CandidateWalk", situations: Sequence[ProviderSituation]
) -> NoTokenAnswered:
    tried = len(walk.tries.failed_token_ids)
    total = sum(one.counts.total for one in situations)
    outcomes = Counter(attempt.outcome for attempt in walk.trace.attempts)
    reasons = ", ".join(
        f"{number} {TOKEN_ERROR_WORDS[outcome]}"
        for outcome, number in outcomes.items()
        if outcome in TOKEN_ERROR_WORDS
    )
    text = (
        f"{tried} of {_format_number(total, 'upstream token')} were tried and none answered "
        f"({reasons}). Others are left: ask again."
    )
    return NoTokenAnswered(text, retry_after_seconds=RETRY_SOON_SECONDS)


def describe_pool(
    situations: Sequence[ProviderSituation], last_error: TokenError | None
) -> GatewayError:
    """Return the error that describes the pool's state, when no token could be tried."""
    waiting = [one for one in situations if one.wait_seconds is not None]
    if waiting:
        first = min(waiting, key=lambda one: one.wait_seconds or 0.0)
        wait = _bound_retry_after(first.wait_seconds)
        if first.is_failing:
            text = (
                "The upstream of this model is failing; it is asked again in "
                f"{_format_duration(first.wait_seconds)}."
            )
            return ProviderDown(text, retry_after_seconds=wait)
        if first.counts.ready:
            text = (
                "The upstream limits the requests of all its tokens together "
                f"({_format_situations(situations)}). It is asked again in "
                f"{_format_duration(first.wait_seconds)}."
            )
            return PoolResting(text, retry_after_seconds=wait)
        text = (
            f"All upstream tokens for this model are limited ({_format_situations(situations)}). "
            f"The first can be asked again in {_format_duration(first.wait_seconds)}."
        )
        return PoolResting(text, retry_after_seconds=wait)
    if isinstance(last_error, RateLimited | QuotaExhausted):
        wait = _bound_retry_after(last_error.retry_after_seconds)
        return PoolResting("The upstream limits the rate of requests.", retry_after_seconds=wait)
    if not any(one.counts.total for one in situations):
        return PoolEmpty("There is no upstream token for this model yet.")
    text = f"No upstream token for this model can be used ({_format_situations(situations)})."
    return NoAvailableToken(text, retry_after_seconds=RETRY_DISABLED_POOL_SECONDS)


def find_situations(walk: "CandidateWalk") -> list[ProviderSituation]:
    """Return the state of each provider of the request's candidates."""
    found: dict[int, ProviderSituation] = {}
    for candidate in walk.candidates:
        upstream = candidate.adapter.upstream
        if upstream.id not in found:
            found[upstream.id] = _find_situation(walk, upstream, candidate.model.name)
    return list(found.values())


def _find_situation(walk: "CandidateWalk", upstream: Upstream, model: str) -> ProviderSituation:
    pool = walk.pool
    now = time.monotonic()
    breaker = pool.find_breaker(upstream)
    blocked = breaker.find_blocked_seconds(now, walk.trace.user_id, model)
    counts = pool.count_by_state(upstream, model)
    wakes = pool.find_wait_seconds(upstream, model)
    can_be_asked = counts.ready + counts.in_use > 0 or pool.is_asked_anonymously(upstream)
    if blocked is None:
        untried = pool.has_untried_token(upstream, walk.tries.failed_token_ids, model)
        return ProviderSituation(upstream.name, counts, None if untried else wakes, False, untried)
    if can_be_asked or wakes is None:
        wait = blocked if can_be_asked else None
        is_failing = breaker.cause != CAUSE_LIMITED
        return ProviderSituation(upstream.name, counts, wait, is_failing, False)
    is_failing = blocked >= wakes and breaker.cause != CAUSE_LIMITED
    return ProviderSituation(upstream.name, counts, max(blocked, wakes), is_failing, False)


def _format_situations(situations: Sequence[ProviderSituation]) -> str:
    if len(situations) == 1:
        return str(situations[0].counts)
    return "; ".join(f"{one.name}: {one.counts}" for one in situations)


def _bound_retry_after(seconds: float | None) -> float:
    return min(max(seconds or RETRY_SOON_SECONDS, RETRY_SOON_SECONDS), LONGEST_RETRY_AFTER_SECONDS)


def _format_number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _format_duration(seconds: float | None) -> str:
    """Return a time in words, rounded up: `9 s`, `30 min`, `2 h`."""
    whole = int(seconds or 0) + 1
    if whole < 120:
        return f"{whole} s"
    return f"{-(-whole // 60)} min" if whole < 7_200 else f"{-(-whole // 3_600)} h"
