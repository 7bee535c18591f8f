"""What an upstream's answer or error means for the token and the provider that it came from.

All of it changes memory only; what must last is noted in the pool. Whose fault an error is:

    AuthRejected, RateLimited, QuotaExhausted   the token's: a strike, a rest, a rest until the reset
    ProviderError                               the provider's, unless it answers with other tokens:
                                                then the token is failing, for a growing time
    everything else                             nobody's: the request's, or a model that is missing
"""

import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from providers.base import Upstream
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
from providers.rate_limits import Limit
from tokens import querysets
from tokens.breaker import LIMITED, FailedRequest
from tokens.notes import Note
from tokens.rings import Entry

if TYPE_CHECKING:
    from tokens.pool import Pool

logger = logging.getLogger(__name__)

STRIKE, REST, EXHAUST, BREAK, UNREADABLE = "strike", "rest", "exhaust", "break", "unreadable"
FAIL, ABSOLVE = "fail", "absolve"

# Errors that are not listed, and those of callers, touch nothing.
CONSEQUENCE: dict[type[UpstreamError], str] = {
    AuthRejected: STRIKE,
    RateLimited: REST,
    QuotaExhausted: EXHAUST,
    UnreadableToken: UNREADABLE,
    ProviderError: BREAK,
}
# Failures that come before an upstream has seen the token.
NOT_BY_TOKEN = (Unreachable, BadTls, UnexpectedRedirect)
ANSWERED_LATELY_SECONDS = 60.0
FAILURES_OF_GOOD_TOKENS = 3  # in a row, of a token that answered lately; of others one is enough


def find_consequence(error: UpstreamError) -> str | None:
    return next((CONSEQUENCE[kind] for kind in type(error).__mro__ if kind in CONSEQUENCE), None)


@dataclass(slots=True, eq=False)
class Call:
    """One call to an upstream within a request."""

    upstream: Upstream
    entry: Entry | None
    model: str = ""  # the upstream's name of it
    request_id: str = ""
    caller: int | None = None  # the user
    failed: FailedRequest | None = None  # the request's earlier failures at this provider


# --- the call ends well -------------------------------------------------------------------------
def record_first_chunk(pool: "Pool", call: Call) -> None:
    """Record that an answer has begun: a breaker closes and a trial ends at once."""
    breaker = pool.breaker(call.upstream)
    if breaker.is_open:
        breaker.close()
    if call.entry is not None and call.entry.held_until:
        end_trial(call.entry)


def record_answer(pool: "Pool", call: Call) -> None:
    """Record that the answer ended well."""
    health, now = pool.health(call.upstream), time.monotonic()
    health.end(call, now, answered=True)
    health.breaker.record_answer(now, call.failed)
    if health.limits.tokens:
        health.limits.clear()
    if pool.troubles.known:
        pool.troubles.forget(call.upstream.id)
    if call.failed is not None:
        _prove_failing_tokens(pool, call)
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
    """The token works: what was held against it is forgotten."""
    was_failing, must_note = entry.state == "failing", entry.strikes or entry.is_noted
    must_note = must_note or entry.state == "exhausted"
    entry.strikes, entry.state, entry.is_noted = 0, "active", False
    if was_failing:
        entry.rests_until = 0.0
        pool.replace(entry)
    if must_note:
        pool.note(entry, Note(ABSOLVE, entry.id, cause=call.request_id))


def end_trial(entry: Entry) -> None:
    """The token works: others may ask it too."""
    entry.on_trial, entry.held_until = False, 0.0


def record_limit(pool: "Pool", call: Call, limit: Limit) -> None:
    """Leave out a token whose answer said that nothing is left, until the upstream's reset."""
    if call.entry is None or not call.entry.enabled:
        return
    seconds = min(limit.seconds, settings.MAX_REST_SECONDS)
    if limit.of_model:
        until = time.monotonic() + seconds
        pool.ring_of(call.entry).limit_model(call.entry, call.model, until)
        return
    _rest(pool, call, seconds, "rate limit: nothing is left until the reset")


# --- the call fails -----------------------------------------------------------------------------
def record_error(pool: "Pool", call: Call, error: UpstreamError) -> FailedRequest | None:
    """Apply what `error` means; returns the request's failures at this provider so far."""
    deed, entry, now = find_consequence(error), call.entry, time.monotonic()
    if entry is not None:
        entry.held_until = 0.0
        pool.count_use(entry, int(deed is not None))
    if deed == BREAK:
        return _record_provider_failure(pool, call, error)
    pool.health(call.upstream).end(call, now)
    pool.breaker(call.upstream).record_refusal(now)
    if entry is None:
        return call.failed
    if deed == STRIKE:
        _note_rejected(pool, call, entry, entry.sealed)
        _strike(pool, entry, f"auth: {error.message}", call.request_id)
    elif deed == UNREADABLE:
        _set_unreadable(pool, call, entry)
    elif deed == EXHAUST:
        _exhaust(pool, call, entry, error)
    elif isinstance(error, RateLimited):
        _record_rate_limit(pool, call, entry, error)
    return call.failed


def record_rejected(pool: "Pool", call: Call, entry: Entry, sealed: str) -> None:
    """The upstream rejected what the token had: it is renewed and asked again before a strike."""
    entry.held_until = 0.0
    health, now = pool.health(call.upstream), time.monotonic()
    health.end(call, now)
    health.breaker.record_refusal(now)
    pool.count_use(entry, 1)
    _note_rejected(pool, call, entry, sealed)


def record_undecided(pool: "Pool", call: Call) -> None:
    """The call ended without telling anything, for example because the caller left."""
    health = pool.health(call.upstream)
    health.end(call, time.monotonic())
    health.breaker.end_probe(call.request_id)
    if call.entry is not None:
        call.entry.held_until = 0.0


def _record_provider_failure(pool: "Pool", call: Call, error: UpstreamError) -> FailedRequest:
    """The token is left alone at once; that is written down only where others show its fault."""
    health, now, entry = pool.health(call.upstream), time.monotonic(), call.entry
    breaker = health.breaker
    is_proved, was_open = breaker.is_healthy(now), breaker.is_open
    health.end_failed(call, now)
    token = entry.id if entry is not None else None
    failed = breaker.record_failure(now, call.failed, caller=call.caller, token=token)
    only_token = not pool.has_other(call.upstream, entry)
    if entry is not None and not isinstance(error, NOT_BY_TOKEN):
        entry.failures += 1
        if not only_token and not was_open:
            _mark_failing(pool, call, entry, f"failing: {error.message}", is_proved=is_proved)
    was_probe = breaker.end_probe(call.request_id)
    if was_probe or (breaker.should_open(now, only_token=only_token) and not health.is_promising(now)):
        breaker.open(now, error.message)
        _forgive_failing_tokens(pool, call)
    if entry is not None:
        _count_trouble(pool, call, auth=False)
    return failed


# --- failing tokens -----------------------------------------------------------------------------
def _prove_failing_tokens(pool: "Pool", call: Call) -> None:
    """The request was answered after all: the tokens that failed it are at fault."""
    if call.failed is None:
        return
    entries = pool.rotate_as(call.upstream).entries
    for token_id in call.failed.tokens:
        entry = entries.get(token_id) if isinstance(token_id, UUID) else None
        if entry is not None and entry is not call.entry and entry.failures:
            if entry.state == "failing":
                _note_failing(pool, call, entry)
            else:
                reason = "failing: another token answered the same request"
                _mark_failing(pool, call, entry, reason, is_proved=True)


def _mark_failing(pool: "Pool", call: Call, entry: Entry, reason: str, *, is_proved: bool) -> None:
    """Let other tokens go first, for a time that doubles with each failure in a row.

    It reaches the database when it is proved that the token is at fault and not the provider.
    """
    now = time.monotonic()
    answered_lately = bool(entry.answered_at) and now - entry.answered_at < ANSWERED_LATELY_SECONDS
    tolerated = FAILURES_OF_GOOD_TOKENS - 1 if answered_lately else 0
    if entry.failures <= tolerated or not entry.enabled or entry.rests_until > now:
        return
    doublings = min(entry.failures - tolerated - 1, 16)
    seconds = min(settings.FAILING_SECONDS * 2**doublings, settings.MAX_FAILING_SECONDS)
    seconds += random.random() * seconds / 10  # noqa: S311 - not all at the same moment
    entry.state, entry.reason, entry.is_noted = "failing", reason, False
    entry.rests_until = now + seconds
    pool.replace(entry)
    if is_proved:
        _note_failing(pool, call, entry)


def _note_failing(pool: "Pool", call: Call, entry: Entry) -> None:
    """Have it written that the token is failing, once each time."""
    left = entry.rests_until - time.monotonic()
    if entry.is_noted or left <= 0:
        return
    entry.is_noted = True
    until = datetime.now(UTC) + timedelta(seconds=left)
    pool.note(entry, Note(FAIL, entry.id, until, entry.reason, call.request_id))


def _forgive_failing_tokens(pool: "Pool", call: Call) -> None:
    """The provider itself fails: tokens that were marked just now are not at fault."""
    for entry in list(pool.rotate_as(call.upstream).failing.values()):
        if entry.failures <= FAILURES_OF_GOOD_TOKENS:
            entry.state, entry.rests_until, entry.failures = "active", 0.0, 0
            pool.replace(entry)
            if entry.is_noted:
                entry.is_noted = False
                pool.note(entry, Note(ABSOLVE, entry.id, cause=call.request_id))


# --- rejected, limited and exhausted tokens -----------------------------------------------------
def _note_rejected(pool: "Pool", call: Call, entry: Entry, sealed: str) -> None:
    """Many requests may have shown what is renewed once: it counts once."""
    if not entry.renewable or entry.rejected != sealed:
        entry.rejected = sealed
        _count_trouble(pool, call, auth=True)


def _count_trouble(pool: "Pool", call: Call, *, auth: bool) -> None:
    """Count it; two in a row call for new credentials, but not while the provider itself fails."""
    tokens = len(pool.rotate_as(call.upstream).entries)
    wanted = pool.troubles.count(call.upstream.id, auth=auth, tokens=tokens)
    if wanted and not pool.breaker(call.upstream).is_open:
        pool.troubles.alarm(call.upstream.id)


def _strike(pool: "Pool", entry: Entry, reason: str, cause: str) -> None:
    entry.strikes += 1
    if entry.strikes >= settings.MAX_TOKEN_FAILURES:
        entry.state = "disabled"
        pool.replace(entry)
    pool.note(entry, Note(STRIKE, entry.id, reason=reason, cause=cause))


def _set_unreadable(pool: "Pool", call: Call, entry: Entry) -> None:
    """Its secret does not open: it is not asked until `tokens/secret_check.py` finds that it does."""
    if not entry.enabled:
        return
    logger.error("the token %s is used no more: %s", entry.id, querysets.UNREADABLE)
    entry.state, entry.reason = "disabled", querysets.UNREADABLE
    pool.replace(entry)
    pool.note(entry, Note(UNREADABLE, entry.id, cause=call.request_id))


def _record_rate_limit(pool: "Pool", call: Call, entry: Entry, error: RateLimited) -> None:
    """Rest the token; or the provider, when one token after the other gets the same refusal."""
    health, now = pool.health(call.upstream), time.monotonic()
    seconds = error.retry_after_seconds
    whole = health.limits.record_refusal(now, entry.id, error.message, error.organization)
    breaker = health.breaker
    if breaker.end_probe(call.request_id) or (whole and not breaker.is_open):
        seconds = min(max(seconds or settings.REST_SECONDS, 1.0), settings.MAX_PROVIDER_REST_SECONDS)
        breaker.open(now, error.message, cause=LIMITED, seconds=seconds)
        return
    if error.of_model:
        seconds = min(seconds or settings.REST_SECONDS, settings.MAX_REST_SECONDS)
        pool.ring_of(entry).limit_model(entry, call.model, now + max(seconds, 1.0))
        return
    if seconds is None:
        if entry.rests_until > now:
            return  # several answers of one window escalate once
        seconds = settings.REST_SECONDS * 2 ** min(entry.rests, 10)
        entry.rests += 1
    seconds = min(max(seconds, 1.0), settings.MAX_REST_SECONDS)
    _rest(pool, call, seconds, f"rate limit: {error.message}")


def _exhaust(pool: "Pool", call: Call, entry: Entry, error: UpstreamError) -> None:
    seconds = error.retry_after_seconds
    if seconds is None:
        if entry.rests_until > time.monotonic() and entry.state == "exhausted":
            return
        seconds = settings.QUOTA_REST_SECONDS
        entry.rests += 1
    longest = max(settings.QUOTA_REST_SECONDS, settings.MAX_REST_SECONDS)
    seconds = min(max(seconds, 1.0), longest)
    _rest(pool, call, seconds, f"quota: {error.message}", state="exhausted")


def _rest(pool: "Pool", call: Call, seconds: float, reason: str, *, state: str = "") -> None:
    """Leave the token alone for so long; a longer rest that it has already stays."""
    entry = call.entry
    if entry is None or not entry.enabled:
        return
    now = time.monotonic()
    seconds += random.random() * min(1.0, seconds / 10)  # noqa: S311 - not all at the same moment
    if state:
        entry.state = state
    elif entry.state == "failing":
        entry.state = "active"
    entry.rests_until = max(entry.rests_until, now + seconds)
    pool.replace(entry)
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    deed = EXHAUST if state else REST
    pool.note(entry, Note(deed, entry.id, until, reason, call.request_id))
