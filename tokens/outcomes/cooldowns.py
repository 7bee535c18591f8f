"""Cooldowns of tokens and providers that the upstream limits, until it may be asked again."""

import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from providers.exceptions import RateLimited, UpstreamError
from providers.upstream.rate_limits import RateLimit
from tokens.outcomes.breaker import CAUSE_LIMITED
from tokens.outcomes.upstream_call import COOLDOWN, EXHAUST, UpstreamCall
from tokens.pool.pooled_token import PooledToken
from tokens.pool.state_changes import StateChange

if TYPE_CHECKING:
    from tokens.pool.pool import Pool


def record_limit(pool: "Pool", call: UpstreamCall, limit: RateLimit) -> None:
    """Leave out a token until the upstream's reset: its answer said that nothing is left."""
    if call.entry is None or not call.entry.is_enabled:
        return
    seconds = min(limit.seconds, settings.MAX_REST_SECONDS)
    if limit.is_per_model:
        until = time.monotonic() + seconds
        pool.find_token_ring(call.entry).limit_model(call.entry, call.model_name, until)
        return
    _record_cooldown(pool, call, seconds, "rate limit: nothing is left until the reset")


def record_rate_limit(
    pool: "Pool", call: UpstreamCall, entry: PooledToken, error: RateLimited
) -> None:
    """Give the token a cooldown, or the provider if token after token gets the same refusal."""
    health = call.health
    now = time.monotonic()
    seconds = error.retry_after_seconds
    is_provider_limited = health.limit_watch.record_refusal(
        now, entry.id, error.message, error.organization
    )
    breaker = health.breaker
    was_probe = breaker.end_probe(call.request_id)
    if was_probe or (is_provider_limited and not breaker.is_open):
        seconds = min(
            max(seconds or settings.REST_SECONDS, 1.0), settings.MAX_PROVIDER_REST_SECONDS
        )
        breaker.open_circuit(now, error.message, cause=CAUSE_LIMITED, seconds=seconds)
        return
    if error.is_per_model:
        seconds = min(seconds or settings.REST_SECONDS, settings.MAX_REST_SECONDS)
        pool.find_token_ring(entry).limit_model(entry, call.model_name, now + max(seconds, 1.0))
        return
    if seconds is None:
        if entry.rests_until > now:
            return  # several answers within one cooldown lengthen it only once
        seconds = settings.REST_SECONDS * 2 ** min(entry.cooldowns_in_row, 10)
        entry.cooldowns_in_row += 1
    seconds = min(max(seconds, 1.0), settings.MAX_REST_SECONDS)
    _record_cooldown(pool, call, seconds, f"rate limit: {error.message}")


def record_quota_exhausted(
    pool: "Pool", call: UpstreamCall, entry: PooledToken, error: UpstreamError
) -> None:
    seconds = error.retry_after_seconds
    if seconds is None:
        if entry.rests_until > time.monotonic() and entry.state == "exhausted":
            return
        seconds = settings.QUOTA_REST_SECONDS
        entry.cooldowns_in_row += 1
    seconds = bound_quota_seconds(seconds)
    _record_cooldown(pool, call, seconds, f"quota: {error.message}", state="exhausted")


def bound_quota_seconds(seconds: float) -> float:
    """Return how long a token without quota is left out: at least a second, and not for ever."""
    longest = max(settings.QUOTA_REST_SECONDS, settings.MAX_REST_SECONDS)
    return min(max(seconds, 1.0), longest)


def _record_cooldown(
    pool: "Pool", call: UpstreamCall, seconds: float, reason: str, *, state: str = ""
) -> None:
    """Give the token a cooldown of `seconds`; a longer one that it already has stays."""
    entry = call.entry
    if entry is None or not entry.is_enabled:
        return
    now = time.monotonic()
    seconds += random.random() * min(1.0, seconds / 10)  # noqa: S311 - not all at the same moment
    if state:
        entry.state = state
    elif entry.state == "failing":
        entry.state = "active"
    entry.rests_until = max(entry.rests_until, now + seconds)
    pool.move_in_ring(entry)
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    effect = EXHAUST if state else COOLDOWN
    pool.queue_change(entry, StateChange(effect, entry.id, until, reason, call.request_id))
