"""Write the pool's changes to the database: state changes at once, counters now and then.

State changes are written in their order. Both kinds have their own transactions, so that counters
never delay a state. There can be no deadlock: state changes lock the topic's row first, like every
other writer of a state. Both kinds skip rows that another transaction has locked instead of waiting
for them, and write them next time. Tokens are locked in the order of their ids.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Generic, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connection, transaction

from providers.database.database_errors import is_outage, log_fault
from providers.database.database_threads import HOUSEKEEPING
from providers.database.leases import read_clock_difference
from providers.models import Revision
from tokens.models import UpstreamToken
from tokens.outcomes.upstream_call import (
    COOLDOWN,
    EXHAUST,
    FAILING_CLEARED,
    FAILING_TOKEN,
    RECOVERY,
    STRIKE,
    UNREADABLE,
)
from tokens.pool.pool import Pool
from tokens.pool.state_changes import StateChange, UseCount
from tokens.pool.use_counters import add_counters, find_existing_tokens
from tokens.pool.written_batches import NumberedBatch, NumberedBatches
from tokens.querysets import TokenQuerySet

logger = logging.getLogger(__name__)

CHANGES_AT_ONCE = 200
COUNTERS_AT_ONCE = 1_000  # rows that one transaction locks
TICK_SECONDS = 0.1


Row = TypeVar("Row", StateChange, UseCount)
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BatchResult(Generic[Row]):
    """The rows of a batch that were written, and those left out because others had locked them."""

    written: list[Row]
    left_out: list[Row]


UPDATE_OF_EFFECT: dict[str, Callable[[TokenQuerySet, StateChange], int]] = {
    STRIKE: lambda rows, change: rows.add_strike(
        settings.MAX_TOKEN_FAILURES, change.reason, change.cause
    ),
    COOLDOWN: lambda rows, change: rows.add_cooldown(
        change.until or datetime.now(UTC), change.reason, change.cause
    ),
    EXHAUST: lambda rows, change: rows.mark_exhausted(
        change.until or datetime.now(UTC), change.reason, change.cause
    ),
    FAILING_TOKEN: lambda rows, change: rows.mark_as_failing(
        change.until or datetime.now(UTC), change.reason, change.cause
    ),
    RECOVERY: lambda rows, change: rows.mark_recovered(change.cause),
    FAILING_CLEARED: lambda rows, change: rows.clear_failing(change.cause),
    UNREADABLE: lambda rows, change: rows.mark_unreadable(change.cause),
}


# --- in the event loop ----------------------------------------------------------------------------
async def write_pool_until_cancelled(pool: Pool) -> None:
    """Write until cancelled; changes that cannot be written now are written later."""
    async with asyncio.TaskGroup() as group:
        group.create_task(write_changes_until_cancelled(pool))
        group.create_task(write_counters_until_cancelled(pool))


async def write_changes_until_cancelled(pool: Pool) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await write_state_changes(pool)


async def write_counters_until_cancelled(pool: Pool) -> None:
    while True:
        await asyncio.sleep(max(TICK_SECONDS, settings.TOKEN_COUNTERS_SECONDS))
        await write_counters(pool, settings.TOKEN_COUNTERS_ROWS)


async def write_pool(pool: Pool, max_counters: int) -> None:
    """Write the waiting changes and up to `max_counters` counters.

    They keep waiting while the database is unavailable.
    """
    await write_state_changes(pool)
    await write_counters(pool, max_counters)


async def write_state_changes(pool: Pool) -> None:
    """Write up to CHANGES_AT_ONCE state changes, or the batch that is still waiting."""
    batches = pool.change_batches
    if batches.waiting_batch is None:
        count = min(len(pool.state_changes), CHANGES_AT_ONCE)
        if not count:
            return
        batches.start_batch([pool.state_changes.popleft() for _ in range(count)])
    result = await write_batch(batches, write_change_rows)
    if result is not None:
        pool.mark_changes_written(result.written)
        pool.state_changes.extendleft(reversed(result.left_out))


async def write_counters(pool: Pool, max_counters: int) -> None:
    """Write the counters of up to `max_counters` tokens, some in each transaction.

    A batch that is still waiting is written first.
    """
    batches = pool.counter_batches
    remaining = min(max_counters, len(pool.unwritten_uses))
    while remaining > 0 or batches.waiting_batch is not None:
        if batches.waiting_batch is None:
            ids = list(islice(pool.unwritten_uses, min(remaining, COUNTERS_AT_ONCE)))
            batches.start_batch(
                [UseCount(token_id, *pool.unwritten_uses.pop(token_id)) for token_id in ids]
            )
            remaining -= len(ids)
        result = await write_batch(batches, write_counter_rows)
        if result is None:
            return
        for token_id, requests, failures in result.left_out:
            use_count = pool.unwritten_uses.setdefault(token_id, [0, 0])
            use_count[0] += requests
            use_count[1] += failures


async def write_batch(
    batches: NumberedBatches[list[Row]], work: Callable[[NumberedBatch[list[Row]], bool], set[UUID]]
) -> BatchResult[Row] | None:
    """Write the waiting batch and return its result.

    None means that the database is unavailable and the batch keeps waiting. If the database refuses
    the batch, it is written row by row, and the rows that are refused are dropped.
    """
    batch = batches.waiting_batch
    assert batch is not None  # noqa: S101
    left_out_ids: set[UUID] = set()
    try:
        left_out_ids = await _run_whole_or_by_row(work, batch)
    except AnyDatabaseError as error:
        if is_outage(error):
            logger.warning("the state of %d tokens waits for the database", len(batch.rows))
            return None
        log_fault(error)
    batches.finish_batch()
    return BatchResult(
        written=[row for row in batch.rows if row.token_id not in left_out_ids],
        left_out=[row for row in batch.rows if row.token_id in left_out_ids],
    )


async def _run_whole_or_by_row(
    work: Callable[[NumberedBatch[list[Row]], bool], set[UUID]], batch: NumberedBatch[list[Row]]
) -> set[UUID]:
    """Write the batch in one piece, or row by row if the database refuses it so."""
    try:
        return await HOUSEKEEPING.run_work(work, batch, False)
    except AnyDatabaseError as error:
        if is_outage(error):
            raise
    return await HOUSEKEEPING.run_work(work, batch, True)


# --- in database threads --------------------------------------------------------------------------
@transaction.atomic
def write_change_rows(
    batch: NumberedBatch[list[StateChange]], row_by_row: bool = False
) -> set[UUID]:
    """Apply the changes in one transaction, and return the tokens left out.

    `row_by_row`: each change has its own savepoint, so that one that the database refuses does not
    stop the others.
    """
    if not batch.mark_written():
        return batch.read_left_out()
    clock_difference = read_clock_difference()
    left_out = lock_tokens({change.token_id for change in batch.rows})
    write = partial(call_in_savepoint, write_state_change) if row_by_row else write_state_change
    # The sort is stable, so the changes of one token keep their order.
    for change in sorted(batch.rows, key=lambda change: change.token_id):
        if change.token_id not in left_out:
            write(convert_to_database_clock(change, clock_difference))
    batch.record_left_out(left_out)
    return left_out


@transaction.atomic
def write_counter_rows(batch: NumberedBatch[list[UseCount]], row_by_row: bool = False) -> set[UUID]:
    """Add the counters in one transaction, and return the tokens left out.

    `row_by_row`: each row has its own savepoint, so that a row that the database refuses does not
    stop the others.
    """
    if not batch.mark_written():
        return batch.read_left_out()
    if row_by_row:
        left_out = {row.token_id for row in batch.rows if call_in_savepoint(add_counters, [row])}
    else:
        left_out = add_counters(batch.rows)
    batch.record_left_out(left_out)
    return left_out


def convert_to_database_clock(change: StateChange, clock_difference: timedelta) -> StateChange:
    if change.until is None:
        return change
    return replace(change, until=change.until + clock_difference)


def call_in_savepoint(function: Callable[[T], R], argument: T) -> R | None:
    """Call the function in a savepoint; an error of the database is logged and undone.

    Raises the error if the database is unavailable.
    """
    try:
        with transaction.atomic():
            return function(argument)
    except AnyDatabaseError as error:
        if is_outage(error):
            raise
        log_fault(error)
        return None


def lock_tokens(ids: set[UUID]) -> set[UUID]:
    """Lock the topic's row, then the tokens' rows. Return the tokens locked by someone else.

    Every writer of a state locks the topic's row first (its trigger does it). SQLite has one writer
    at a time, so nothing is locked there.
    """
    if connection.vendor != "postgresql":
        return set()
    list(Revision.objects.select_for_update().filter(topic="tokens"))
    tokens = UpstreamToken.objects.filter(pk__in=ids).order_by("pk")
    locked = set(
        tokens.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
    )
    return find_existing_tokens(ids - locked)


def write_state_change(change: StateChange) -> None:
    UPDATE_OF_EFFECT[change.effect](UpstreamToken.objects.filter(pk=change.token_id), change)
