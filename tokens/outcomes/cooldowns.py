"""Cooldowns of tokens and providers that the upstream limits, until it may be asked again."""

import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from providers.exceptions import RateLimited, UpstreamError
from providers.upstream.rate_limits import Limit
from tokens.outcomes.breaker import LIMITED
from tokens.outcomes.upstream_call import EXHAUST, REST, Call
from tokens.pool.pooled_token import Entry
from tokens.pool.state_changes import Note

if TYPE_CHECKING:
    from tokens.pool.pool import Pool


def record_limit(pool: "Pool", call: Call, limit: Limit) -> None:
    """Leave out a token until the upstream's reset: its answer said that nothing is left."""
    if call.entry is None or not call.entry.enabled:
        return
    seconds = min(limit.seconds, settings.MAX_REST_SECONDS)
    if limit.of_model:
        until = time.monotonic() + seconds
        pool.ring_of(call.entry).limit_model(call.entry, call.model, until)
        return
    _rest(pool, call, seconds, "rate limit: nothing is left until the reset")


def record_rate_limit(pool: "Pool", call: Call, entry: Entry, error: RateLimited) -> None:
    """Give the token a cooldown, or the provider if token after token gets the same refusal."""
    health = call.health
    now = time.monotonic()
    seconds = error.retry_after_seconds
    whole = health.limits.record_refusal(now, entry.id, error.message, error.organization)
    breaker = health.breaker
    if breaker.end_probe(call.request_id) or (whole and not breaker.is_open):
        seconds = min(
            max(seconds or settings.REST_SECONDS, 1.0), settings.MAX_PROVIDER_REST_SECONDS
        )
        breaker.open(now, error.message, cause=LIMITED, seconds=seconds)
        return
    if error.of_model:
        seconds = min(seconds or settings.REST_SECONDS, settings.MAX_REST_SECONDS)
        pool.ring_of(entry).limit_model(entry, call.model, now + max(seconds, 1.0))
        return
    if seconds is None:
        if entry.rests_until > now:
            return  # several answers within one cooldown lengthen it only once
        seconds = settings.REST_SECONDS * 2 ** min(entry.rests, 10)
        entry.rests += 1
    seconds = min(max(seconds, 1.0), settings.MAX_REST_SECONDS)
    _rest(pool, call, seconds, f"rate limit: {error.message}")


def exhaust(pool: "Pool", call: Call, entry: Entry, error: UpstreamError) -> None:
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
    """Give the token a cooldown of `seconds`; a longer one that it already has stays."""
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
