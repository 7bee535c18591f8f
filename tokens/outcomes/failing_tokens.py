"""Tokens with which a provider fails while it answers with others; others go first for a time.

A token is put behind the others at its first failure, in this process only. Its failing state is
written when it is proved: another token answered the same request, or the provider answers others.
"""

import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from tokens.outcomes.upstream_call import ABSOLVE, FAIL, Call
from tokens.pool.pooled_token import Entry
from tokens.pool.state_changes import Note

if TYPE_CHECKING:
    from tokens.pool.pool import Pool

ANSWERED_LATELY_SECONDS = 60.0
FAILURES_OF_GOOD_TOKENS = 3  # in a row, for a token that answered lately; else one is enough


def prove_failing_tokens(pool: "Pool", call: Call) -> None:
    """Mark the tokens that failed a request as failing: another token has answered it."""
    if call.failed is None:
        return
    entries = pool.rotate_as(call.upstream).entries
    for token_id in call.failed.tokens:
        entry = entries.get(token_id) if isinstance(token_id, UUID) else None
        if entry is not None and entry is not call.entry and entry.failures:
            if entry.state == "failing":
                note_failing(pool, call, entry)
            else:
                reason = "failing: another token answered the same request"
                mark_failing(pool, call, entry, reason, is_proved=True)


def mark_failing(pool: "Pool", call: Call, entry: Entry, reason: str, *, is_proved: bool) -> None:
    """Let other tokens go first, for a time that doubles with each failure in a row.

    The state is written to the database only when `is_proved`: the token is at fault and not the
    provider.
    """
    now = time.monotonic()
    answered_lately = bool(entry.answered_at) and now - entry.answered_at < ANSWERED_LATELY_SECONDS
    tolerated = FAILURES_OF_GOOD_TOKENS - 1 if answered_lately else 0
    if entry.failures <= tolerated or not entry.enabled or entry.rests_until > now:
        return
    doublings = min(entry.failures - tolerated - 1, 16)
    seconds = min(settings.FAILING_SECONDS * 2**doublings, settings.MAX_FAILING_SECONDS)
    seconds += random.random() * seconds / 10  # noqa: S311 - not all at the same moment
    entry.state = "failing"
    entry.reason = reason
    entry.is_noted = False
    entry.rests_until = now + seconds
    pool.replace(entry)
    if is_proved:
        note_failing(pool, call, entry)


def note_failing(pool: "Pool", call: Call, entry: Entry) -> None:
    """Queue the token's failing state for the database, once each time it fails."""
    left = entry.rests_until - time.monotonic()
    if entry.is_noted or left <= 0:
        return
    entry.is_noted = True
    until = datetime.now(UTC) + timedelta(seconds=left)
    pool.note(entry, Note(FAIL, entry.id, until, entry.reason, call.request_id))


def forgive_failing_tokens(pool: "Pool", call: Call) -> None:
    """Clear the failing state of recently marked tokens: the provider itself fails."""
    for entry in list(pool.rotate_as(call.upstream).failing.values()):
        if entry.failures <= FAILURES_OF_GOOD_TOKENS:
            entry.state = "active"
            entry.rests_until = 0.0
            entry.failures = 0
            pool.replace(entry)
            if entry.is_noted:
                entry.is_noted = False
                pool.note(entry, Note(ABSOLVE, entry.id, cause=call.request_id))
