"""Tokens with which a provider fails while it answers with others: others go first, for a time.

A token is put behind at its first failure, in this process only. That it is failing is written down
when it is proved: another token answered the same request, or the provider answers others.
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
FAILURES_OF_GOOD_TOKENS = 3  # in a row, of a token that answered lately; of others one is enough


def prove_failing_tokens(pool: "Pool", call: Call) -> None:
    """The request was answered after all: the tokens that failed it are at fault."""
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
    entry.state = "failing"
    entry.reason = reason
    entry.is_noted = False
    entry.rests_until = now + seconds
    pool.replace(entry)
    if is_proved:
        note_failing(pool, call, entry)


def note_failing(pool: "Pool", call: Call, entry: Entry) -> None:
    """Have it written that the token is failing, once each time."""
    left = entry.rests_until - time.monotonic()
    if entry.is_noted or left <= 0:
        return
    entry.is_noted = True
    until = datetime.now(UTC) + timedelta(seconds=left)
    pool.note(entry, Note(FAIL, entry.id, until, entry.reason, call.request_id))


def forgive_failing_tokens(pool: "Pool", call: Call) -> None:
    """The provider itself fails: tokens that were marked just now are not at fault."""
    for entry in list(pool.rotate_as(call.upstream).failing.values()):
        if entry.failures <= FAILURES_OF_GOOD_TOKENS:
            entry.state = "active"
            entry.rests_until = 0.0
            entry.failures = 0
            pool.replace(entry)
            if entry.is_noted:
                entry.is_noted = False
                pool.note(entry, Note(ABSOLVE, entry.id, cause=call.request_id))
