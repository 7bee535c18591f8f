"""Tokens with which a provider fails while it answers with others; others go first for a time.

A token is put behind the others in this process at its first failure, or at its third when it
answered within ANSWERED_LATELY_SECONDS. Its failing state is queued for the database when it is
proved: another token answered the same request, or the provider answers other requests
(`Breaker.is_healthy`).
"""

import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from tokens.outcomes.upstream_call import FAILING_CLEARED, FAILING_TOKEN, UpstreamCall
from tokens.pool.pooled_token import PooledToken
from tokens.pool.state_changes import StateChange

if TYPE_CHECKING:
    from tokens.pool.pool import Pool

ANSWERED_LATELY_SECONDS = 60.0
FAILURES_OF_GOOD_TOKENS = 3  # in a row, for a token that answered lately; else one is enough


def mark_proved_tokens(pool: "Pool", call: UpstreamCall) -> None:
    """Record that another token has answered a request which these tokens failed.

    The failing state of tokens that are marked already is queued for the database. The others may
    be marked now (`mark_failing`).
    """
    if call.failed_request is None:
        return
    entries = pool.find_ring(call.upstream).entries
    for token_id in call.failed_request.token_ids:
        entry = entries.get(token_id) if token_id is not None else None
        if entry is None or entry is call.entry or not entry.failures_in_row:
            continue
        if entry.state == "failing":
            queue_failing_state(pool, call, entry)
        else:
            reason = "failing: another token answered the same request"
            mark_failing(pool, call, entry, reason, is_proved=True)


def mark_failing(
    pool: "Pool", call: UpstreamCall, entry: PooledToken, reason: str, *, is_proved: bool
) -> None:
    """Let other tokens go first, for a time that doubles with each failure in a row.

    The first failures of a token that answered lately are tolerated. The caller makes sure that
    there are other tokens. The state is queued for the database only when `is_proved`: the token is
    at fault and not the provider.
    """
    now = time.monotonic()
    answered_lately = bool(entry.answered_at) and now - entry.answered_at < ANSWERED_LATELY_SECONDS
    tolerated = 0
    if answered_lately:
        tolerated = FAILURES_OF_GOOD_TOKENS - 1
    if entry.failures_in_row <= tolerated or not entry.is_enabled or entry.rests_until > now:
        return
    doublings = min(entry.failures_in_row - tolerated - 1, 16)
    seconds = min(settings.FAILING_SECONDS * 2**doublings, settings.MAX_FAILING_SECONDS)
    seconds += random.random() * seconds / 10  # noqa: S311 - not all at the same moment
    entry.state = "failing"
    entry.reason = reason
    entry.is_failing_queued = False
    entry.rests_until = now + seconds
    pool.move_in_ring(entry)
    if is_proved:
        queue_failing_state(pool, call, entry)


def queue_failing_state(pool: "Pool", call: UpstreamCall, entry: PooledToken) -> None:
    """Queue the token's failing state for the database, once each time it fails."""
    seconds_left = entry.rests_until - time.monotonic()
    if entry.is_failing_queued or seconds_left <= 0:
        return
    entry.is_failing_queued = True
    until = datetime.now(UTC) + timedelta(seconds=seconds_left)
    pool.queue_change(
        entry, StateChange(FAILING_TOKEN, entry.id, until, entry.reason, call.request_id)
    )


def clear_failing_tokens(pool: "Pool", call: UpstreamCall) -> None:
    """Clear the failing state of tokens with few failures: the provider itself fails.

    Few are FAILURES_OF_GOOD_TOKENS that this process has seen. Their strikes stay.
    """
    for entry in list(pool.find_ring(call.upstream).failing_entries.values()):
        if entry.failures_in_row <= FAILURES_OF_GOOD_TOKENS:
            entry.state = "active"
            entry.rests_until = 0.0
            entry.failures_in_row = 0
            pool.move_in_ring(entry)
            if entry.is_failing_queued:
                entry.is_failing_queued = False
                pool.queue_change(
                    entry, StateChange(FAILING_CLEARED, entry.id, cause=call.request_id)
                )
