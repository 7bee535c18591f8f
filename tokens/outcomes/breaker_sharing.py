"""Share the state of circuit breakers between processes through the rows of `BreakerState`.

Each process finds out for itself whether a provider fails; the rows of other processes are hints. A
process that reads of an open breaker opens its own for the same time, unless the provider has just
answered it. A process that reads of a closed breaker closes its own. The admin and the staff
endpoints show the same rows.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import Error as DatabaseFault
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from providers.database.database_threads import HOUSEKEEPING
from tokens.models import BreakerState
from tokens.outcomes.breaker import HEALTHY_SECONDS, SEVERAL_CALLERS, Breaker
from tokens.pool.pool import Pool

logger = logging.getLogger(__name__)

WRITE_PAUSE_SECONDS = 0.2
REASON_LENGTH = 200
PROCESS_ID = uuid4().hex  # id of this process, to tell its own rows from those of others
PERSON = "person"  # in place of the id of a process: somebody closed the breaker by hand


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A breaker's state to be written; `seconds` until its next probe, None when it is closed."""

    provider_id: int
    seconds: float | None
    opened_at: datetime | None
    cause: str
    reason: str
    callers: tuple[int, ...]
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BreakerHint:
    """A row of another process; `seconds` until its breaker's next probe, None when closed."""

    provider_id: int
    seconds: float | None
    opened_at: datetime | None
    changed_at: datetime
    cause: str
    reason: str
    callers: tuple[int, ...]
    models: tuple[str, ...] = ()


class BreakerSharing:
    """The exchange of breaker states between this process and the others."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # provider id -> the breaker's changes that were written
        self._written_change_counts: dict[int, int] = {}

    async def write_until_cancelled(self) -> None:
        """Write changes until cancelled; changes that cannot be written now are written later."""
        while True:
            await asyncio.sleep(WRITE_PAUSE_SECONDS)
            await self.write_changed_breakers()

    async def write_changed_breakers(self) -> None:
        """Write the rows of the breakers that opened or closed since the last time."""
        now = time.monotonic()
        changes = []
        counts = {}
        for provider_id, health in self._pool.list_health():
            breaker = health.breaker
            if breaker.change_count != self._written_change_counts.get(provider_id, 0):
                changes.append(build_breaker_change(provider_id, breaker, now))
                counts[provider_id] = breaker.change_count
        if not changes:
            return
        try:
            await HOUSEKEEPING.run_work(write_breaker_changes, changes)
        except DatabaseFault:
            logger.warning("the state of %d circuit breakers waits for the database", len(changes))
        else:
            self._written_change_counts.update(counts)

    def apply_hints(self, hints: list[BreakerHint]) -> None:
        """Open and close this process's breakers as the hints of other processes say."""
        now = time.monotonic()
        for hint in hints:
            apply_hint(self._pool.find_health_by_id(hint.provider_id).breaker, hint, now)


def apply_hint(breaker: Breaker, hint: BreakerHint, now: float) -> None:
    """Open or close this process's breaker as the hint says, unless it knows better."""
    if hint.seconds is None:
        if breaker.opened_at is not None and breaker.opened_at < hint.changed_at:
            breaker.close_from_hint()
        return
    answered_lately = now - breaker.answered_at <= HEALTHY_SECONDS
    if hint.seconds > 0 and not breaker.is_open and not answered_lately:
        breaker.open_from_hint(now + hint.seconds, hint)


def build_breaker_change(provider_id: int, breaker: Breaker, now: float) -> BreakerChange:
    callers = tuple(sorted(caller for caller in breaker.failed_caller_ids if caller is not None))
    seconds = max(0.0, breaker.open_until - now) if breaker.is_open else None
    reason = breaker.reason[:REASON_LENGTH]
    models = tuple(sorted(breaker.failed_model_names))
    return BreakerChange(
        provider_id, seconds, breaker.opened_at, breaker.cause, reason, callers, models
    )


# --- in database threads ------------------------------------------------------------------------
def write_breaker_changes(changes: list[BreakerChange]) -> None:
    """Write each breaker's row; times are those of the database's clock."""
    for change in changes:
        until = None if change.seconds is None else Now() + timedelta(seconds=change.seconds)
        values = {
            "open_until": until,
            "opened_at": change.opened_at,
            "changed_at": Now(),
            "cause": change.cause,
            "reason": change.reason,
            "callers": list(change.callers),
            "asked_models": list(change.models),
            "process": PROCESS_ID,
        }
        rows = BreakerState.objects.filter(pk=change.provider_id)
        if not rows.update(**values):
            new = BreakerState(provider_id=change.provider_id, **values)
            BreakerState.objects.bulk_create([new], ignore_conflicts=True)


def close_breaker(provider_id: int) -> bool:
    """Close the breaker of a provider in every process, and return whether it was open.

    Writes the row as if another process had seen the provider answer, so each process closes its
    own breaker as soon as it reads the row. A breaker that opens after that moment stays open.
    """
    rows = BreakerState.objects.filter(pk=provider_id, open_until__isnull=False)
    return bool(
        rows.update(
            open_until=None,
            opened_at=None,
            changed_at=Now(),
            reason="",
            callers=[],
            asked_models=[],
            process=PERSON,
        )
    )


def read_breaker_hints() -> list[BreakerHint]:
    """Read the rows that other processes wrote."""
    return read_hints_of(BreakerState.objects.exclude(process=PROCESS_ID))


def read_hints_of(states: QuerySet[BreakerState]) -> list[BreakerHint]:
    """Read these rows as hints, with times from now on."""
    rows = states.annotate(now=Now())
    return [
        BreakerHint(
            row.provider_id,
            (row.open_until - row.now).total_seconds() if row.open_until else None,
            row.opened_at,
            row.changed_at,
            row.cause,
            row.reason,
            tuple(row.callers),
            tuple(row.asked_models),
        )
        for row in rows
    ]


def find_open_breakers() -> QuerySet[BreakerState]:
    """Return the breakers that are open or half-open, to show to people."""
    return BreakerState.objects.filter(open_until__isnull=False).order_by("provider_id")


def describe_open_breaker(state: BreakerState) -> str:
    """Return one line about an open breaker: until when, since when and why."""
    since = ""
    if state.opened_at is not None:
        since = f"since {state.opened_at:%H:%M:%S} UTC"
    assert state.open_until is not None  # noqa: S101
    if state.open_until > timezone.now():
        text = f"not asked until {state.open_until:%H:%M:%S} UTC, {since}"
    else:
        text = f"the next request finds out whether it works again; failing {since}"
    if len(state.asked_models) == 1 and state.asked_models[0]:
        text += f" (for the model {state.asked_models[0]} alone)"
    elif 0 < len(state.callers) < SEVERAL_CALLERS:
        text += " (for the callers whose requests failed)"
    return f"{text}: {state.reason}"
