"""What the pool noted, written to the database: changes of state at once and in their order, counters in bounded
batches.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseFault
from django.db import transaction
from django.db.models import F

from providers.offloop import off_loop
from tokens.models import UpstreamToken
from tokens.notes import Note
from tokens.pool import Pool

logger = logging.getLogger(__name__)

NOTES_AT_ONCE = 500
COUNTERS_AT_ONCE = 2_000  # of tokens per writing, so that a pool of 100,000 costs no more than one of 10
COUNTERS_EVERY = 50  # ticks
TICK_SECONDS = 0.1

DEEDS: dict[str, Callable[[Note], int]] = {
    "strike": lambda note: _token(note).strike(settings.MAX_TOKEN_FAILURES, note.reason, note.cause),
    "rest": lambda note: _token(note).rest(note.until or datetime.now(UTC), note.reason, note.cause),
    "exhaust": lambda note: _token(note).exhaust(note.until or datetime.now(UTC), note.reason, note.cause),
    "fail": lambda note: _token(note).fail(note.until or datetime.now(UTC), note.reason, note.cause),
    "absolve": lambda note: _token(note).absolve(note.cause),
}


def _token(note: Note):  # type: ignore[no-untyped-def]
    return UpstreamToken.objects.filter(pk=note.token_id)


async def keep(pool: Pool) -> None:
    """Write until cancelled; what cannot be written now is written later."""
    tick = 0
    while True:
        await asyncio.sleep(TICK_SECONDS)
        tick += 1
        if pool.notes or tick % COUNTERS_EVERY == 0:
            await write(pool, COUNTERS_AT_ONCE if tick % COUNTERS_EVERY == 0 else 0)


async def write(pool: Pool, counters: int) -> None:
    """Write the notes that wait and up to `counters` counters. A database that fails leaves them waiting."""
    notes = [pool.notes.popleft() for _ in range(min(len(pool.notes), NOTES_AT_ONCE))]
    used = {token_id: pool.used.pop(token_id) for token_id in list(pool.used)[:counters]}
    if not notes and not used:
        return
    try:
        await off_loop(write_rows, notes, used)
        pool.written(notes)
    except DatabaseFault:
        logger.warning("the state of %d tokens waits for the database", len(notes) + len(used))
        pool.notes.extendleft(reversed(notes))
        for token_id, (requests, failures) in used.items():
            counted = pool.used.setdefault(token_id, [0, 0])
            counted[0] += requests
            counted[1] += failures


@transaction.atomic
def write_rows(notes: list[Note], used: dict[UUID, list[int]]) -> None:
    """All or nothing, so that what is tried again is not applied twice."""
    for note in notes:
        DEEDS[note.deed](note)
    now = datetime.now(UTC)
    for token_id, (requests, failures) in used.items():
        UpstreamToken.objects.filter(pk=token_id).update(
            requests=F("requests") + requests, failures=F("failures") + failures, last_used_at=now
        )
