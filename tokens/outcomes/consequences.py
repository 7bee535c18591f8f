"""Apply an upstream's answer or error to the token and the provider that it came from.

Only memory is changed; changes that must last are queued in the pool. Each error has a culprit:

    AuthRejected      the token: a strike
    RateLimited       the token: a cooldown; or the provider, if token after token is limited
    QuotaExhausted    the token: exhausted until the reset
    UnreadableToken   the token: disabled until its secret can be opened
    ProviderError     the provider; or the token, if the provider answers with other tokens:
                      then the token is failing, for a growing time
    everything else   neither: the request is at fault, or the model is missing
"""

import logging
import time
from typing import TYPE_CHECKING

from django.conf import settings

from providers.exceptions import (
    AuthRejected,
    BadTls,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    UnexpectedRedirect,
    Unreachable,
    UnreadableToken,
    UpstreamError,
)
from tokens import querysets
from tokens.outcomes.breaker import FailedCall, FailedRequest
from tokens.outcomes.cooldowns import record_quota_exhausted, record_rate_limit
from tokens.outcomes.failing_tokens import (
    clear_failing_tokens,
    mark_failing,
    mark_proved_tokens,
)
from tokens.outcomes.upstream_call import (
    AGAINST_PROVIDER,
    COOLDOWN,
    EXHAUST,
    RECOVERY,
    STRIKE,
    UNREADABLE,
    UpstreamCall,
)
from tokens.pool.pooled_token import PooledToken
from tokens.pool.state_changes import StateChange

if TYPE_CHECKING:
    from tokens.pool.pool import Pool

logger = logging.getLogger(__name__)

# Errors that are not listed, and those that callers cause, change nothing.
CONSEQUENCE: dict[type[UpstreamError], str] = {
    AuthRejected: STRIKE,
    RateLimited: COOLDOWN,
    QuotaExhausted: EXHAUST,
    UnreadableToken: UNREADABLE,
    ProviderError: AGAINST_PROVIDER,
}
# Failures that come before an upstream has seen the token.
FAILURES_BEFORE_TOKEN = (Unreachable, BadTls, UnexpectedRedirect)


def find_consequence(error: UpstreamError) -> str | None:
    return next((CONSEQUENCE[kind] for kind in type(error).__mro__ if kind in CONSEQUENCE), None)


# --- the call is answered -----------------------------------------------------------------------
def record_first_chunk(pool: "Pool", call: UpstreamCall) -> None:
    """Record that an answer has begun: a breaker closes and a trial ends at once."""
    breaker = call.health.breaker
    if breaker.is_open:
        breaker.close_circuit()
    if call.entry is not None and call.entry.held_until:
        end_trial(call.entry)


def record_answer(pool: "Pool", call: UpstreamCall) -> None:
    """Record that the answer ended well."""
    health = call.health
    now = time.monotonic()
    health.end_call(call, now, answered=True)
    health.breaker.record_answer(now, call.failed_request)
    if health.limit_watch.limited_token_ids:
        health.limit_watch.clear_refusals()
    if pool.failure_counts.by_provider:
        pool.failure_counts.clear_failures(call.upstream.id)
    if call.failed_request is not None:
        mark_proved_tokens(pool, call)
    entry = call.entry
    if entry is None:
        return
    pool.count_use(entry, 0)
    entry.cooldowns_in_row = 0
    entry.failures_in_row = 0
    entry.answered_at = now
    end_trial(entry)
    if entry.is_enabled and (entry.strikes or entry.state != "active"):
        _record_recovery(pool, call, entry)


def _record_recovery(pool: "Pool", call: UpstreamCall, entry: PooledToken) -> None:
    """Clear the strikes and the failing or exhausted state of a token that works."""
    was_failing = entry.state == "failing"
    must_write = entry.strikes or entry.is_failing_queued or entry.state == "exhausted"
    entry.strikes = 0
    entry.state = "active"
    entry.is_failing_queued = False
    if was_failing:
        entry.rests_until = 0.0
        pool.move_in_ring(entry)
    if must_write:
        pool.queue_change(entry, StateChange(RECOVERY, entry.id, cause=call.request_id))


def end_trial(entry: PooledToken) -> None:
    """End the token's trial: it works, so other requests may use it too."""
    entry.is_on_trial = False
    entry.held_until = 0.0


# --- the call fails -----------------------------------------------------------------------------
def record_error(pool: "Pool", call: UpstreamCall, error: UpstreamError) -> FailedRequest | None:
    """Apply the error, and return the request's failures at this provider so far."""
    effect = find_consequence(error)
    entry = call.entry
    now = time.monotonic()
    if entry is not None:
        entry.held_until = 0.0
        pool.count_use(entry, int(effect is not None))
    if effect == AGAINST_PROVIDER:
        return _record_provider_failure(pool, call, error)
    call.health.end_call(call, now)
    call.health.breaker.record_refusal(now)
    if entry is None:
        return call.failed_request
    if effect == STRIKE:
        _count_rejection(pool, call, entry, entry.sealed)
        _add_strike(pool, entry, f"auth: {error.message}", call.request_id)
    elif effect == UNREADABLE:
        _mark_unreadable(pool, call, entry)
    elif effect == EXHAUST:
        record_quota_exhausted(pool, call, entry, error)
    elif isinstance(error, RateLimited):
        record_rate_limit(pool, call, entry, error)
    return call.failed_request


def record_rejection(pool: "Pool", call: UpstreamCall, entry: PooledToken, sealed: str) -> None:
    """Record that the upstream rejected the token's secret, without a strike yet.

    The token is renewed and tried again first. `sealed` is the rejected secret.
    """
    entry.held_until = 0.0
    health = call.health
    now = time.monotonic()
    health.end_call(call, now)
    health.breaker.record_refusal(now)
    pool.count_use(entry, 1)
    _count_rejection(pool, call, entry, sealed)


def record_undecided(pool: "Pool", call: UpstreamCall) -> None:
    """Record that the call ended without a result, for example because the caller left."""
    health = call.health
    health.end_call(call, time.monotonic())
    health.breaker.end_probe(call.request_id)
    if call.entry is not None:
        call.entry.held_until = 0.0


def _record_provider_failure(
    pool: "Pool", call: UpstreamCall, error: UpstreamError
) -> FailedRequest:
    """Record that the provider failed the call, and return the request's failures so far.

    The token is marked as failing at once. The mark is written only when the provider answers other
    requests, so that the token is proved to be at fault. Opens the breaker if enough has failed.
    """
    health = call.health
    now = time.monotonic()
    entry = call.entry
    breaker = health.breaker
    is_proved = breaker.is_healthy(now)
    was_open = breaker.is_open
    health.end_failed_call(call, now)
    token_id = entry.id if entry is not None else None
    failed_call = FailedCall(call.caller_id, token_id, call.model_name)
    failed_request = breaker.record_failure(now, call.failed_request, failed_call)
    only_token = not pool.has_other_token(call.upstream, entry)
    if entry is not None and not isinstance(error, FAILURES_BEFORE_TOKEN):
        entry.failures_in_row += 1
        if not only_token and not was_open:
            mark_failing(pool, call, entry, f"failing: {error.message}", is_proved=is_proved)
    was_probe = breaker.end_probe(call.request_id)
    if was_probe or health.should_open(now, only_token=only_token):
        breaker.open_circuit(now, error.message)
        clear_failing_tokens(pool, call)
    if entry is not None:
        _count_failure(pool, call, is_rejection=False)
    return failed_request


# --- rejected and unreadable tokens -----------------------------------------------------
def _count_rejection(pool: "Pool", call: UpstreamCall, entry: PooledToken, sealed: str) -> None:
    """Count the rejection of a secret once, however many requests were rejected with it."""
    if not entry.is_renewable or entry.rejected_secret != sealed:
        entry.rejected_secret = sealed
        _count_failure(pool, call, is_rejection=True)


def _count_failure(pool: "Pool", call: UpstreamCall, *, is_rejection: bool) -> None:
    """Count a failure of the provider; two in a row order a renewal of its tokens.

    No renewal is ordered while the provider itself fails.
    """
    pool_size = len(pool.find_ring(call.upstream).entries)
    wants_renewal = pool.failure_counts.count_failure(
        call.upstream.id, is_rejection=is_rejection, pool_size=pool_size
    )
    if wants_renewal and not call.health.breaker.is_open:
        pool.failure_counts.request_renewal(call.upstream.id)


def _add_strike(pool: "Pool", entry: PooledToken, reason: str, cause: str) -> None:
    entry.strikes += 1
    if entry.strikes >= settings.MAX_TOKEN_FAILURES:
        entry.state = "disabled"
        pool.move_in_ring(entry)
    pool.queue_change(entry, StateChange(STRIKE, entry.id, reason=reason, cause=cause))


def _mark_unreadable(pool: "Pool", call: UpstreamCall, entry: PooledToken) -> None:
    """Disable a token whose secret cannot be opened, until `tokens/secret_check.py` can open it."""
    if not entry.is_enabled:
        return
    logger.error("the token %s is used no more: %s", entry.id, querysets.UNREADABLE_REASON)
    entry.state = "disabled"
    entry.reason = querysets.UNREADABLE_REASON
    pool.move_in_ring(entry)
    pool.queue_change(entry, StateChange(UNREADABLE, entry.id, cause=call.request_id))
