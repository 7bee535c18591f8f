"""Apply an upstream's answer or error to the token and the provider that it came from.

Only memory is changed; changes that must last are noted in the pool. Each error has a culprit:

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
from tokens.outcomes.cooldowns import exhaust, record_rate_limit
from tokens.outcomes.failing_tokens import (
    forgive_failing_tokens,
    mark_failing,
    prove_failing_tokens,
)
from tokens.outcomes.upstream_call import ABSOLVE, BREAK, EXHAUST, REST, STRIKE, UNREADABLE, Call
from tokens.pool.pooled_token import Entry
from tokens.pool.state_changes import Note

if TYPE_CHECKING:
    from tokens.pool.pool import Pool

logger = logging.getLogger(__name__)

# Errors that are not listed, and those that callers cause, change nothing.
CONSEQUENCE: dict[type[UpstreamError], str] = {
    AuthRejected: STRIKE,
    RateLimited: REST,
    QuotaExhausted: EXHAUST,
    UnreadableToken: UNREADABLE,
    ProviderError: BREAK,
}
# Failures that come before an upstream has seen the token.
NOT_BY_TOKEN = (Unreachable, BadTls, UnexpectedRedirect)


def find_consequence(error: UpstreamError) -> str | None:
    return next((CONSEQUENCE[kind] for kind in type(error).__mro__ if kind in CONSEQUENCE), None)


# --- the call is answered -----------------------------------------------------------------------
def record_first_chunk(pool: "Pool", call: Call) -> None:
    """Record that an answer has begun: a breaker closes and a trial ends at once."""
    breaker = call.health.breaker
    if breaker.is_open:
        breaker.close()
    if call.entry is not None and call.entry.held_until:
        end_trial(call.entry)


def record_answer(pool: "Pool", call: Call) -> None:
    """Record that the answer ended well."""
    health = call.health
    now = time.monotonic()
    health.end(call, now, answered=True)
    health.breaker.record_answer(now, call.failed)
    if health.limits.tokens:
        health.limits.clear()
    if pool.troubles.known:
        pool.troubles.forget(call.upstream.id)
    if call.failed is not None:
        prove_failing_tokens(pool, call)
    entry = call.entry
    if entry is None:
        return
    pool.count_use(entry, 0)
    entry.rests = entry.failures = 0
    entry.answered_at = now
    end_trial(entry)
    if entry.enabled and (entry.strikes or entry.state != "active"):
        _absolve(pool, call, entry)


def _absolve(pool: "Pool", call: Call, entry: Entry) -> None:
    """Clear the strikes and the failing or exhausted state of a token that works."""
    was_failing = entry.state == "failing"
    must_note = entry.strikes or entry.is_noted
    must_note = must_note or entry.state == "exhausted"
    entry.strikes = 0
    entry.state = "active"
    entry.is_noted = False
    if was_failing:
        entry.rests_until = 0.0
        pool.replace(entry)
    if must_note:
        pool.note(entry, Note(ABSOLVE, entry.id, cause=call.request_id))


def end_trial(entry: Entry) -> None:
    """End the token's trial: it works, so other requests may use it too."""
    entry.on_trial = False
    entry.held_until = 0.0


# --- the call fails -----------------------------------------------------------------------------
def record_error(pool: "Pool", call: Call, error: UpstreamError) -> FailedRequest | None:
    """Apply the error, and return the request's failures at this provider so far."""
    deed = find_consequence(error)
    entry = call.entry
    now = time.monotonic()
    if entry is not None:
        entry.held_until = 0.0
        pool.count_use(entry, int(deed is not None))
    if deed == BREAK:
        return _record_provider_failure(pool, call, error)
    call.health.end(call, now)
    call.health.breaker.record_refusal(now)
    if entry is None:
        return call.failed
    if deed == STRIKE:
        _note_rejected(pool, call, entry, entry.sealed)
        _strike(pool, entry, f"auth: {error.message}", call.request_id)
    elif deed == UNREADABLE:
        _set_unreadable(pool, call, entry)
    elif deed == EXHAUST:
        exhaust(pool, call, entry, error)
    elif isinstance(error, RateLimited):
        record_rate_limit(pool, call, entry, error)
    return call.failed


def record_rejected(pool: "Pool", call: Call, entry: Entry, sealed: str) -> None:
    """Record that the upstream rejected the token's secret, without a strike yet.

    The token is renewed and tried again first. `sealed` is the rejected secret.
    """
    entry.held_until = 0.0
    health = call.health
    now = time.monotonic()
    health.end(call, now)
    health.breaker.record_refusal(now)
    pool.count_use(entry, 1)
    _note_rejected(pool, call, entry, sealed)


def record_undecided(pool: "Pool", call: Call) -> None:
    """Record that the call ended without a result, for example because the caller left."""
    health = call.health
    health.end(call, time.monotonic())
    health.breaker.end_probe(call.request_id)
    if call.entry is not None:
        call.entry.held_until = 0.0


def _record_provider_failure(pool: "Pool", call: Call, error: UpstreamError) -> FailedRequest:
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
    health.end_failed(call, now)
    token = entry.id if entry is not None else None
    failed = breaker.record_failure(now, call.failed, FailedCall(call.caller, token, call.model))
    only_token = not pool.has_other(call.upstream, entry)
    if entry is not None and not isinstance(error, NOT_BY_TOKEN):
        entry.failures += 1
        if not only_token and not was_open:
            mark_failing(pool, call, entry, f"failing: {error.message}", is_proved=is_proved)
    was_probe = breaker.end_probe(call.request_id)
    if was_probe or health.should_open(now, only_token=only_token):
        breaker.open(now, error.message)
        forgive_failing_tokens(pool, call)
    if entry is not None:
        _count_trouble(pool, call, auth=False)
    return failed


# --- rejected and unreadable tokens -----------------------------------------------------
def _note_rejected(pool: "Pool", call: Call, entry: Entry, sealed: str) -> None:
    """Count the rejection of a secret once, however many requests were rejected with it."""
    if not entry.renewable or entry.rejected != sealed:
        entry.rejected = sealed
        _count_trouble(pool, call, auth=True)


def _count_trouble(pool: "Pool", call: Call, *, auth: bool) -> None:
    """Count a failure of the provider; two in a row order a renewal of its tokens.

    No renewal is ordered while the provider itself fails.
    """
    tokens = len(pool.rotate_as(call.upstream).entries)
    wanted = pool.troubles.count(call.upstream.id, auth=auth, tokens=tokens)
    if wanted and not call.health.breaker.is_open:
        pool.troubles.alarm(call.upstream.id)


def _strike(pool: "Pool", entry: Entry, reason: str, cause: str) -> None:
    entry.strikes += 1
    if entry.strikes >= settings.MAX_TOKEN_FAILURES:
        entry.state = "disabled"
        pool.replace(entry)
    pool.note(entry, Note(STRIKE, entry.id, reason=reason, cause=cause))


def _set_unreadable(pool: "Pool", call: Call, entry: Entry) -> None:
    """Disable a token whose secret cannot be opened, until `tokens/secret_check.py` can open it."""
    if not entry.enabled:
        return
    logger.error("the token %s is used no more: %s", entry.id, querysets.UNREADABLE)
    entry.state = "disabled"
    entry.reason = querysets.UNREADABLE
    pool.replace(entry)
    pool.note(entry, Note(UNREADABLE, entry.id, cause=call.request_id))
