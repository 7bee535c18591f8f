"""The ledger: exactly one usage record for each accepted request, committed before its last byte.

`open_record` writes a request to the journal. `record_batches` passes its chunks through and writes
its row once, however they end. Rows are committed in groups: while one batch commits, the next one
collects. While the database is away, rows go to the spool and new requests are refused. Rows that
the spool cannot take, on a full disk, are kept in memory and tried again.
`api/accounting/recovery.py` writes the rows of requests that dead processes left.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, ValuesView
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from api.accounting import journal, token_count, usage_rows
from api.accounting.recovery import Recovery, RowWriter
from api.accounting.spool import Row, Spool, SpoolFull
from api.accounting.unwritten import UnwrittenRows
from api.accounting.write_errors import DISK_FULL, WriteFailed, is_disk_full
from api.accounting.writers import Writer
from api.models import Status
from api.models.usage_record import BATCH_CLIENT
from api.pricing.price_directory import PriceDirectory
from api.pricing.request_cost import compute_cost
from providers.exceptions import DatabaseUnavailable, GatewayError
from providers.fast_settings import settings
from providers.protocol.chunks import Batches
from providers.protocol.trace import Reservation, Trace
from providers.protocol.usage_meter import TokenUsage

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5  # pause between two attempts to reach the database
DATABASE_AWAY = "the database does not answer"
JOURNAL_FAILS = "the journal cannot be written"
ERROR_CODE_LENGTH = 64
CLIENT_CLOSED_STATUS = 499  # nginx's status for a client that closed the connection


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended: the values of its usage record."""

    status: Status
    http_status: int
    error_code: str = ""


COMPLETE = Ending(Status.COMPLETE, 200)


def classify_ending(error: BaseException | None, has_begun: bool) -> Ending:
    """Return the ending that stands for the exception that ended the answer, or for None.

    `has_begun` is true when chunks had come before.
    """
    if error is None:
        return COMPLETE
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return Ending(Status.ABANDONED, CLIENT_CLOSED_STATUS)
    status = Status.TRUNCATED if has_begun else Status.ERROR
    if isinstance(error, GatewayError):
        code = "".join(
            filter(str.isprintable, error.shown_code or "")
        )  # an upstream may have chosen the code
        return Ending(status, error.shown_status, code[:ERROR_CODE_LENGTH])
    return Ending(status, 500, "internal_error")


class WaitingRow(NamedTuple):
    """A finished request whose row is not committed yet."""

    row: Row
    slot: int
    commit_future: "asyncio.Future[None]"
    reservation: Reservation | None = None  # holds the request's cost until then


OpenRequest = tuple[int, Trace]  # a running request with its slot in the journal


class Ledger:
    """The ledger of this process.

    `refusal_reason` says why no request can be recorded now. It is empty while requests are
    accepted. `report_row` gets each finished row, while somebody wants them (the live board), and
    `count_rows` the rows of each batch that is committed, or kept for later.
    """

    def __init__(
        self,
        writer: Writer,
        spool: Spool,
        journal_directory: Path,
        prices: PriceDirectory | None = None,
    ) -> None:
        self._writer = writer
        self._row_writer = RowWriter(writer, spool)
        self._recovery = Recovery(self._row_writer, spool, journal_directory)
        self._prices = PriceDirectory() if prices is None else prices
        self._journal_directory = journal_directory
        self._journal = journal.Journal(journal_directory)
        self._open_requests: dict[str, OpenRequest] = {}
        self.report_row: Callable[[Row], None] | None = None
        self.count_rows: Callable[[list[Row]], None] | None = None
        self._waiting_rows: list[WaitingRow] = []
        self._unwritten_rows = UnwrittenRows(self._journal, spool, settings.UNWRITTEN_LIMIT_BYTES)
        self._wake_event = asyncio.Event()
        self._is_writing = True
        self.refusal_reason = ""

    @property
    def is_suspended(self) -> bool:
        """Return whether requests cannot be recorded now."""
        return bool(self.refusal_reason)

    # --- one request ------------------------------------------------------------------------------
    def require_available(self) -> None:
        """Raise DatabaseUnavailable while requests cannot be recorded.

        A request that cannot be accounted for is not begun.
        """
        if self.refusal_reason:
            raise DatabaseUnavailable(
                f"Requests cannot be recorded now: {self.refusal_reason}. Nothing was sent on.",
                retry_after_seconds=2,
            )

    def suspend_requests(self) -> None:
        """Refuse requests, as the database is away; `write_until_cancelled` notices its return."""
        if not self.is_suspended:
            self._refuse_requests(DATABASE_AWAY)

    def _refuse_requests(self, reason: str, detail: object = "") -> None:
        """Refuse requests from now on; the log gets one line for each new reason."""
        if reason != self.refusal_reason:
            logger.warning("requests are refused and rows kept for later: %s %s", reason, detail)
        self.refusal_reason = reason
        self._wake_event.set()

    def open_record(self, trace: Trace) -> None:
        """Write an accepted request to the journal: from now on it will have a usage record.

        Raises DatabaseUnavailable.
        """
        self.require_available()
        request = trace.request
        facts = [
            request.id,
            trace.started_at,
            trace.key_id,
            trace.user_id,
            request.ledger_endpoint,
            request.model,
        ]
        try:
            slot = self._journal.write_facts([*facts, request.stream, trace.team_id])
        except OSError as error:
            self._refuse_requests(DISK_FULL if is_disk_full(error) else JOURNAL_FAILS, error)
            self.require_available()
        else:
            self._open_requests[request.id] = slot, trace

    @property
    def open_requests(self) -> ValuesView[OpenRequest]:
        """Return the requests that run now, oldest first, each with its slot in the journal."""
        return self._open_requests.values()

    async def record_batches(self, trace: Trace, batches: Batches) -> Batches:
        """Pass the chunks through, and write the usage record when they end, however they end.

        The record is committed (or kept for later) when this generator has ended.
        """
        try:
            async with aclosing(batches):
                first = await anext(batches, None)
                if first is not None:
                    trace.record_first_byte()
                    yield first
                async for batch in batches:
                    yield batch
        finally:
            has_begun = trace.first_byte_ms is not None
            await self.close_record(trace, classify_ending(sys.exc_info()[1], has_begun))

    async def close_record(self, trace: Trace, ending: Ending) -> None:
        """Count the request's tokens, compute its cost, and write its usage record.

        Returns when the record is committed, or kept for later. When the caller leaves meanwhile,
        only the waiting ends, not the writing.
        """
        try:
            self._record_cost(trace, await token_count.count_request(trace.meter))
        except asyncio.CancelledError:
            self._record_cost(trace, token_count.estimate_request(trace.meter))
            self._queue_row(trace, ending)
            raise
        except Exception:  # whatever fails in counting, the request has its record
            logger.exception("tokens and cost of a request could not be computed")
            trace.meter.counted = trace.meter.counted or TokenUsage(estimated=True)
        await self._queue_row(trace, ending)

    def queue_refused_rows(self, rows: list[Row]) -> None:
        """Queue rows of refused requests for the next batch; a full disk loses them."""
        for row in rows:
            try:
                slot = self._journal.write_facts(usage_rows.facts_from_row(row))
            except OSError as error:
                logger.warning("records of refused requests cannot be kept: %s", error)
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting_rows.append(WaitingRow(row, slot, waiter))
            self._wake_event.set()
            if self.report_row is not None:
                self.report_row(row)

    def _record_cost(self, trace: Trace, counted: TokenUsage) -> None:
        """Write the counted tokens and their cost to the meter."""
        trace.meter.counted = counted
        token_count.record_counts_of_attempts(trace.meter)
        trace.meter.cost = compute_cost(
            trace.meter, self._prices, trace.started_at, is_batch=trace.client == BATCH_CLIENT
        )

    def _queue_row(self, trace: Trace, ending: Ending) -> "asyncio.Future[None]":
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if trace.reservation is not None:
            trace.reservation.settle(trace.meter)
        row = usage_rows.build_finished_row(
            trace, ending.status, ending.http_status, ending.error_code
        )
        slot, _ = self._open_requests.pop(trace.request.id)
        self._waiting_rows.append(WaitingRow(row, slot, waiter, trace.reservation))
        self._wake_event.set()
        if self.report_row is not None:
            self.report_row(row)
        if not self._is_writing:
            waiter.set_result(None)
        return waiter

    # --- the writing task -------------------------------------------------------------------------
    async def write_until_cancelled(self) -> None:
        """Write batches until cancelled; after that, no request waits for a commit."""
        self._is_writing = True
        try:
            while True:
                if self.is_suspended:
                    await self._try_to_resume()
                else:
                    await self._wake_event.wait()
                    await asyncio.sleep(0)  # requests that end in this turn of the loop join
                await self.write_waiting_rows()
        finally:
            self._is_writing = False
            for waiting in self._waiting_rows:
                if not waiting.commit_future.done():
                    waiting.commit_future.set_result(None)

    async def write_waiting_rows(self) -> None:
        """Write the rows that wait, and wake the requests that wait for them."""
        self._wake_event.clear()
        batch = self._waiting_rows
        self._waiting_rows = []
        if not batch:
            return
        rows = [waiting.row for waiting in batch]
        try:
            if not self.is_suspended:
                await self._row_writer.write_rows(rows)
        except WriteFailed as error:
            self._refuse_requests(DISK_FULL if error.disk_full else DATABASE_AWAY, error)
        except Exception as error:  # whatever keeps rows from being written, they are kept
            logger.exception("rows could not be written by a fault of ours")
            self._refuse_requests(DATABASE_AWAY, error)
        except BaseException:  # the writing task is cancelled: the next one writes the batch
            self._waiting_rows = batch + self._waiting_rows
            raise
        if self.is_suspended:
            await self._store_for_later(batch)
        else:
            for waiting in batch:
                self._journal.release_slot(waiting.slot)
        for waiting in batch:
            if waiting.reservation is not None:
                waiting.reservation.record_commit()
            if not waiting.commit_future.done():
                waiting.commit_future.set_result(None)
        if self.count_rows is not None:
            self.count_rows(rows)

    async def _store_for_later(self, batch: list[WaitingRow]) -> None:
        """Write rows to the spool, or keep them in memory when it cannot take them."""
        try:
            await self._unwritten_rows.append_to_spool([waiting.row for waiting in batch])
        except (SpoolFull, OSError) as error:
            if is_disk_full(error):
                self._refuse_requests(DISK_FULL, error)
            for waiting in batch:
                self._unwritten_rows.add_row(waiting.row, waiting.slot, error)
        else:
            for waiting in batch:
                self._journal.release_slot(waiting.slot)

    async def _try_to_resume(self) -> None:
        """Try to write all rows kept for later; accept requests again when that succeeds."""
        try:
            await self.replay_spools()
            await self._unwritten_rows.write_all(self._row_writer.write_rows)
            self._journal.ensure_free_slot()
        except WriteFailed as error:
            await self._unwritten_rows.move_to_spool()
            if error.disk_full or not self._unwritten_rows:
                self._refuse_requests(DISK_FULL if error.disk_full else DATABASE_AWAY, error)
            await asyncio.sleep(RETRY_SECONDS)
        except OSError as error:
            self._refuse_requests(DISK_FULL if is_disk_full(error) else JOURNAL_FAILS, error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self.refusal_reason = ""
            logger.warning("requests are taken again")

    # --- rows of dead processes -------------------------------------------------------------------
    async def replay_spools(self) -> int:
        """Write the rows of all spools and return how many.

        Raises WriteFailed.
        """
        return await self._recovery.replay_spools()

    async def sweep_journals(self) -> int:
        """Write rows for requests that dead processes left in their journals; return how many.

        Raises WriteFailed.
        """
        return await self._recovery.sweep_journals()

    async def write_rest_and_close(self) -> None:
        """Write all that waits, and close writer and journal; no request may be running."""
        await self.write_waiting_rows()
        with suppress(WriteFailed):
            await self._unwritten_rows.write_all(self._row_writer.write_rows)
        await self._unwritten_rows.move_to_spool()
        await self._writer.close()
        self._journal.close()
