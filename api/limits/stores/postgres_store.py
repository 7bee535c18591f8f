"""The store of limits in Postgres, for any number of processes and machines.

Each exchange is one transaction, sent in one go. It takes an advisory lock for each counter, in the
order of their names, and then leases with one statement, which sees all that was committed before.
All times are those of the database, so the clocks of the gateways do not matter.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from api.limits.stores.limit_store import (
    SLICE_DIVISOR,
    SLOTS_PER_SECOND,
    WINDOW_SECONDS,
    WINDOW_SLOTS,
    Counter,
    Lease,
    LeaseRequest,
    StoreUnavailable,
)
from api.limits.stores.spent_money import ALL_TIME_SLOT, SPEND_SLOT_SECONDS
from providers.database.deadlines import TimeLimit
from providers.fast_settings import settings

if TYPE_CHECKING:
    from psycopg import AsyncConnection

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)

CONSTANTS = {
    "slice_divisor": SLICE_DIVISOR,
    "slots_per_second": SLOTS_PER_SECOND,
    "window_slots": WINDOW_SLOTS,
}

LOCK_SQL = "SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))"

RETURN_SQL = """
UPDATE api_limitslot AS slots SET amount = slots.amount - returned.amount
FROM unnest(%(slots)s::bigint[], %(amounts)s::bigint[]) AS returned (slot, amount)
WHERE slots.counter = %(name)s AND slots.slot = returned.slot
"""

LEASE_WINDOW_SQL = """
WITH clock AS MATERIALIZED (
    SELECT floor(extract(epoch FROM clock_timestamp()) * %(slots_per_second)s)::bigint AS slot
), used AS MATERIALIZED (
    SELECT slots.slot, slots.amount FROM api_limitslot AS slots, clock
    WHERE slots.counter = %(name)s AND slots.slot > clock.slot - %(window_slots)s
), free AS (
    SELECT (%(limit)s - %(overused)s - coalesce(sum(amount), 0))::bigint AS amount FROM used
), granted AS (
    SELECT CASE WHEN %(needed)s::bigint > 0 AND free.amount > 0
        THEN least(free.amount, greatest(%(needed)s::bigint, free.amount / %(slice_divisor)s))
        ELSE 0 END AS amount
    FROM free
), added AS (
    INSERT INTO api_limitslot AS slots (counter, slot, amount)
    SELECT %(name)s, clock.slot, granted.amount + %(overused)s FROM clock, granted
    WHERE granted.amount + %(overused)s > 0
    ON CONFLICT (counter, slot) DO UPDATE SET amount = slots.amount + excluded.amount
)
SELECT granted.amount, free.amount - granted.amount, clock.slot,
    (
        SELECT min(sums.slot) - clock.slot FROM (
            SELECT slot, sum(amount) OVER (ORDER BY slot) AS freed FROM used
        ) AS sums WHERE sums.freed >= %(needed)s - free.amount
    ),
    (SELECT max(slot) - clock.slot FROM used WHERE amount > 0)
FROM granted, free, clock
"""

LEASE_HELD_SQL = """
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS time
), spent AS (
    SELECT coalesce(sum(micro_usd), 0)::bigint AS amount FROM api_spend, clock
    WHERE %(is_budget)s AND subject_kind = %(kind)s AND subject_id = %(subject_id)s
        AND slot >= %(spent_from)s AND slot <= %(spent_until)s
        AND (%(rolling)s = 0 OR slot > clock.time - %(rolling)s * interval '1 second')
), others AS (
    SELECT coalesce(sum(amount), 0)::bigint AS amount FROM api_limitlease, clock
    WHERE counter = %(name)s AND holder <> %(holder)s AND expires_at > clock.time
), free AS (
    SELECT %(limit)s - spent.amount - others.amount - %(held)s AS amount FROM spent, others
), granted AS (
    SELECT CASE WHEN %(needed)s::bigint > 0 AND free.amount > 0
        THEN least(free.amount, greatest(%(needed)s::bigint, free.amount / %(slice_divisor)s))
        ELSE 0 END AS amount
    FROM free
), written AS (
    INSERT INTO api_limitlease (counter, holder, amount, expires_at)
    SELECT %(name)s, %(holder)s, %(held)s + granted.amount,
        clock.time + %(lease_seconds)s * interval '1 second'
    FROM granted, clock WHERE %(held)s + granted.amount > 0
    ON CONFLICT (counter, holder)
    DO UPDATE SET amount = excluded.amount, expires_at = excluded.expires_at
), deleted AS (
    DELETE FROM api_limitlease USING granted
    WHERE counter = %(name)s AND holder = %(holder)s AND %(held)s + granted.amount = 0
)
SELECT granted.amount, free.amount - granted.amount, spent.amount FROM granted, free, spent
"""

# rows that another process changes at this moment are left for the next time
SWEEP_SQL = (
    """
    DELETE FROM api_limitslot WHERE (counter, slot) IN (
        SELECT counter, slot FROM api_limitslot WHERE slot <
            floor(extract(epoch FROM clock_timestamp()) * %(slots_per_second)s)
            - 2 * %(window_slots)s
        FOR UPDATE SKIP LOCKED
    )
    """,
    """
    DELETE FROM api_limitlease WHERE (counter, holder) IN (
        SELECT counter, holder FROM api_limitlease
        WHERE expires_at < clock_timestamp() - interval '1 hour'
        FOR UPDATE SKIP LOCKED
    )
    """,
)


class PostgresStore:
    """The store of one process; `holder` names the process in its leases."""

    is_shared = True
    generation = 0

    def __init__(self, parameters: dict[str, Any], timeout_seconds: float) -> None:
        self.holder = uuid.uuid4().hex
        self._parameters = parameters
        self._time_limit = TimeLimit(timeout_seconds)
        self._connection: AsyncConnection | None = None
        self._swept_at = time.monotonic()

    async def exchange(self, requests: list[LeaseRequest]) -> list[Lease]:
        import psycopg

        try:
            db = self._connection or await self._open_connection()
            return await self._time_limit.wait_for_work(self._lease_all(db, requests), db)
        except TimeoutError as error:
            self._connection = None  # the time limit closes it when the late call has ended
            raise StoreUnavailable("the database does not answer") from error
        except asyncio.CancelledError:
            self._connection = None  # as above
            raise
        except (psycopg.Error, OSError) as error:
            await self._close_connection()
            raise StoreUnavailable(str(error)) from error

    async def _open_connection(self) -> "AsyncConnection":
        import psycopg

        self._connection = await psycopg.AsyncConnection.connect(
            **self._parameters, autocommit=True
        )
        return self._connection

    async def _lease_all(
        self, db: "AsyncConnection", requests: Sequence[LeaseRequest]
    ) -> list[Lease]:
        """Lease in one transaction, in the order of the counters' names."""
        ordered = sorted(requests, key=lambda request: request.counter.name)
        async with db.pipeline(), db.transaction():
            cursors = [await self._send_lease(db, request) for request in ordered]
            await self._sweep_now_and_then(db)
        leases = {
            request.counter: read_lease(request, await cursor.fetchone())
            for request, cursor in zip(ordered, cursors, strict=True)
        }
        return [leases[request.counter] for request in requests]

    async def _send_lease(self, db: "AsyncConnection", request: LeaseRequest) -> Any:
        """Send the statements of one counter, and return the cursor with the answer."""
        counter = request.counter
        name = counter.name
        values: dict[str, object] = {
            **CONSTANTS,
            "name": name,
            "limit": request.limit,
            "needed": request.needed,
            "overused": request.overused,
        }
        await db.execute(LOCK_SQL, {"name": name})
        if counter.is_windowed:
            if request.returned:
                slots, amounts = zip(*request.returned, strict=True)
                returned = {"name": name, "slots": list(slots), "amounts": list(amounts)}
                await db.execute(RETURN_SQL, returned)
            return await db.execute(LEASE_WINDOW_SQL, values)
        values |= self._lease_values(request) | find_spent_slots(counter)
        return await db.execute(LEASE_HELD_SQL, values)

    def _lease_values(self, request: LeaseRequest) -> dict[str, object]:
        counter = request.counter
        return {
            "held": request.held,
            "holder": self.holder,
            "lease_seconds": settings.LIMIT_LEASE_SECONDS,
            "is_budget": counter.is_budget,
            "kind": counter.kind,
            "subject_id": counter.subject_id,
        }

    async def _sweep_now_and_then(self, db: "AsyncConnection") -> None:
        """Delete rows that count no more, once in SWEEP_SECONDS."""
        if time.monotonic() - self._swept_at > SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            for statement in SWEEP_SQL:
                await db.execute(statement, CONSTANTS)

    def record_spent(self, counter: Counter, micro_usd: int) -> None:
        """Do nothing: the database adds up what is spent."""

    async def close(self) -> None:
        await self._time_limit.end_late_work()
        await self._close_connection()

    async def _close_connection(self) -> None:
        import psycopg

        db = self._connection
        self._connection = None
        if db is not None:
            with suppress(psycopg.Error, OSError):  # the connection is not used again
                await db.close()


def find_spent_slots(counter: Counter) -> dict[str, object]:
    """Return the slots of `Spend` that belong to the period of a counter."""
    if counter.rolling_seconds:
        rolling = counter.rolling_seconds + SPEND_SLOT_SECONDS  # the first slot counts whole
        return {"spent_from": ALL_TIME_SLOT, "spent_until": FOREVER, "rolling": rolling}
    if not counter.period_start:
        return {"spent_from": ALL_TIME_SLOT, "spent_until": ALL_TIME_SLOT, "rolling": 0}
    start = datetime.fromtimestamp(counter.period_start, UTC)
    return {"spent_from": start, "spent_until": FOREVER, "rolling": 0}


def read_lease(request: LeaseRequest, row: Any) -> Lease:
    """Return the answer of the database about one counter."""
    if not request.counter.is_windowed:
        granted, remaining, spent = row
        return Lease(granted, remaining, spent=spent)
    granted, remaining, slot, slots_until_free, slots_until_full = row
    seconds_until_free = count_seconds(slots_until_free)
    seconds_until_full = WINDOW_SECONDS if granted else count_seconds(slots_until_full)
    return Lease(granted, remaining, slot, 0, seconds_until_free, seconds_until_full)


def count_seconds(slots_ago: int | None) -> float:
    """Return the seconds until a slot leaves the window; its age is negative."""
    if slots_ago is None:
        return 0.0
    return float(slots_ago + WINDOW_SLOTS) / SLOTS_PER_SECOND
