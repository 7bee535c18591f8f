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
from tokens.outcomes.breaker import LIMITED
from tokens.token_counts import TokenCounts

if TYPE_CHECKING:
    from tokens.failover.search import Search

LONGEST_RETRY_AFTER_SECONDS = 120.0  # after a longer wait a caller may as well ask again
RETRY_SOON_SECONDS = 1.0
NONE_ENABLED_SECONDS = 60.0  # disabled tokens are checked regularly and may come back
WORDS: dict[str, str] = {
    "AuthRejected": "rejected",
    "RateLimited": "limited",
    "QuotaExhausted": "out of quota",
    "UnreadableToken": "unreadable",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of one provider of the model.

    `wait` is the time in seconds until it can be asked, None if waiting does not help.
    """

    name: str
    counts: TokenCounts
    wait: float | None
    is_failing: bool  # the wait is for its circuit breaker
    has_untried: bool  # it has a ready token that this request has not tried


def describe_outcome(search: "Search") -> GatewayError:
    """Return the error of a request that nobody answered."""
    last = search.tries.last
    if not search.pool.shared and isinstance(last, TokenError):
        return _describe_own_tokens(last)
    if last is not None and not isinstance(last, TokenError):
        return _describe_last(last)
    if time.perf_counter() >= search.deadline:
        text = (
            f"The request's time was over after {_plural(len(search.tries.tokens), 'token')} "
            "had been tried."
        )
        return DeadlineExceeded(text, retry_after_seconds=RETRY_SOON_SECONDS)
    situations = find_situations(search)
    if last is not None and any(one.has_untried for one in situations):
        return _describe_giving_up(search, situations)
    return describe_pool(situations, last)


def _describe_own_tokens(last: TokenError) -> GatewayError:
    """Return the error of a request whose own tokens failed; the text says why."""
    if isinstance(last, AuthRejected):
        return InvalidKey("The upstream accepts none of the tokens that the request carries.")
    if isinstance(last, QuotaExhausted):
        text = "The tokens that the request carries have no quota left at the upstream."
    else:
        text = "The upstream limits the rate of the tokens that the request carries."
    return PoolResting(text, retry_after_seconds=_bounded(last.retry_after_seconds))


def _describe_last(last: UpstreamError) -> UpstreamError:
    if isinstance(last, ModelMissing):
        last.param = "model"
    elif isinstance(last, ProviderError) and last.retry_after_seconds is None:
        last.retry_after_seconds = RETRY_SOON_SECONDS
    return last


def _describe_giving_up(search: "Search", situations: Sequence[Situation]) -> NoTokenAnswered:
    tried = len(search.tries.tokens)
    total = sum(one.counts.total for one in situations)
    outcomes = Counter(attempt.outcome for attempt in search.trace.attempts)
    reasons = ", ".join(
        f"{number} {WORDS[outcome]}" for outcome, number in outcomes.items() if outcome in WORDS
    )
    text = (
        f"{tried} of {_plural(total, 'upstream token')} were tried and none answered ({reasons}). "
        f"Others are left: ask again."
    )
    return NoTokenAnswered(text, retry_after_seconds=RETRY_SOON_SECONDS)


def describe_pool(situations: Sequence[Situation], last: TokenError | None) -> GatewayError:
    """Return the error that describes the pool's state, when no token could be tried."""
    waiting = [one for one in situations if one.wait is not None]
    if waiting:
        first = min(waiting, key=lambda one: one.wait or 0.0)
        wait = _bounded(first.wait)
        if first.is_failing:
            text = (
                "The upstream of this model is failing; it is asked again in "
                f"{_duration(first.wait)}."
            )
            return ProviderDown(text, retry_after_seconds=wait)
        text = (
            f"All upstream tokens for this model are limited ({_list(situations)}). "
            f"The first can be asked again in {_duration(first.wait)}."
        )
        return PoolResting(text, retry_after_seconds=wait)
    if isinstance(last, RateLimited | QuotaExhausted):
        wait = _bounded(last.retry_after_seconds)
        return PoolResting("The upstream limits the rate of requests.", retry_after_seconds=wait)
    if not any(one.counts.total for one in situations):
        return PoolEmpty("There is no upstream token for this model yet.")
    text = f"No upstream token for this model can be used ({_list(situations)})."
    return NoAvailableToken(text, retry_after_seconds=NONE_ENABLED_SECONDS)


def find_situations(search: "Search") -> list[Situation]:
    """Return the state of each provider of the request's candidates."""
    found: dict[int, Situation] = {}
    for candidate in search.candidates:
        upstream = candidate.adapter.upstream
        if upstream.id not in found:
            found[upstream.id] = _find_situation(search, upstream, candidate.model.name)
    return list(found.values())


def _find_situation(search: "Search", upstream: Upstream, model: str) -> Situation:
    pool = search.pool
    now = time.monotonic()
    breaker = pool.breaker(upstream)
    blocked = breaker.blocked_for(now, search.trace.user_id, model)
    counts = pool.counts(upstream, model)
    wakes = pool.wakes_in(upstream, model)
    can_be_asked = counts.ready + counts.in_use > 0 or pool.anonymous(upstream)
    if blocked is None:
        untried = pool.has_untried(upstream, search.tries.tokens, model)
        return Situation(upstream.name, counts, None if untried else wakes, False, untried)
    if can_be_asked or wakes is None:
        wait = blocked if can_be_asked else None
        is_failing = breaker.cause != LIMITED
        return Situation(upstream.name, counts, wait, is_failing, False)
    is_failing = blocked >= wakes and breaker.cause != LIMITED
    return Situation(upstream.name, counts, max(blocked, wakes), is_failing, False)


def _list(situations: Sequence[Situation]) -> str:
    if len(situations) == 1:
        return str(situations[0].counts)
    return "; ".join(f"{one.name}: {one.counts}" for one in situations)


def _bounded(seconds: float | None) -> float:
    return min(max(seconds or RETRY_SOON_SECONDS, RETRY_SOON_SECONDS), LONGEST_RETRY_AFTER_SECONDS)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _duration(seconds: float | None) -> str:
    """Return a time in words, rounded up: `9 s`, `30 min`, `2 h`."""
    whole = int(seconds or 0) + 1
    if whole < 120:
        return f"{whole} s"
    return f"{-(-whole // 60)} min" if whole < 7_200 else f"{-(-whole // 3_600)} h"
