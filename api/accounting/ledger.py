"""The ledger: exactly one usage record for each accepted request, committed before its last byte.

`open` writes a request to the journal. `recorded` passes its chunks through and writes its row
once, however they end. Rows are committed in groups: while one batch commits, the next one
collects. While the database is away, rows go to the spool and new requests are refused. Rows that
the spool cannot take, on a full disk, are kept in memory and tried again.
`api/accounting/recovery.py` writes the rows of requests that dead processes left.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from api.accounting import journal, token_count, usage_rows
from api.accounting.recovery import REPLAYED_AT_ONCE, Recovery, RowWriter
from api.accounting.spool import Row, Spool, SpoolFull
from api.accounting.unwritten import Unwritten
from api.accounting.write_errors import DISK_FULL, WriteFailed, is_disk_full
from api.accounting.writers import Writer
from api.models import Status
from providers.exceptions import DatabaseUnavailable, GatewayError
from providers.fast_settings import settings
from providers.protocol.chunks import Batches
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5  # pause between two attempts to reach the database
DATABASE_AWAY = "the database does not answer"
JOURNAL_FAILS = "the journal cannot be written"
CODE_LENGTH = 64
CLIENT_CLOSED = 499  # nginx's status for a client that closed the connection


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended: the values of its usage record."""

    status: Status
    http_status: int
    error_code: str = ""


def ending(error: BaseException | None, begun: bool) -> Ending:
    """Return the ending that stands for the exception that ended the answer, or for None.

    `begun` is true when chunks had come before.
    """
    if error is None:
        return Ending(Status.COMPLETE, 200)
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return Ending(Status.ABANDONED, CLIENT_CLOSED)
    status = Status.TRUNCATED if begun else Status.ERROR
    if isinstance(error, GatewayError):
        code = "".join(
            filter(str.isprintable, error.shown_code or "")
        )  # an upstream may have chosen the code
        return Ending(status, error.shown_status, code[:CODE_LENGTH])
    return Ending(status, 500, "internal_error")


class Waiting(NamedTuple):
    """A finished request whose row is not committed yet."""

    row: Row
    slot: int
    done: "asyncio.Future[None]"


class Ledger:
    """The ledger of this process.

    `reason` says why no request can be recorded now. It is empty while requests are accepted.
    """

    def __init__(self, writer: Writer, spool: Spool, journals: Path) -> None:
        self._writer = writer
        self._spool = spool
        self._rows = RowWriter(writer, spool)
        self._recovery = Recovery(self._rows, spool, journals)
        self._journals = journals
        self._journal = journal.Journal(journals)
        self._slots: dict[str, int] = {}
        self._waiting: list[Waiting] = []
        self._unwritten = Unwritten(self._journal, settings.UNWRITTEN_LIMIT_BYTES)
        self._work = asyncio.Event()
        self._keeping = True
        self.reason = ""

    @property
    def away(self) -> bool:
        """Return whether requests cannot be recorded now."""
        return bool(self.reason)

    # --- one request ------------------------------------------------------------------------------
    def require(self) -> None:
        """Raise DatabaseUnavailable while requests cannot be recorded.

        A request that cannot be accounted for is not begun.
        """
        if self.reason:
            raise DatabaseUnavailable(
                f"Requests cannot be recorded now: {self.reason}. Nothing was sent on.",
                retry_after_seconds=2,
            )

    def suspend(self) -> None:
        """Refuse requests because the database was found away; `keep` notices its return."""
        if not self.away:
            self._refuse_requests(DATABASE_AWAY)

    def _refuse_requests(self, reason: str, detail: object = "") -> None:
        """Refuse requests from now on; the log gets one line for each new reason."""
        if reason != self.reason:
            logger.warning("requests are refused and rows kept for later: %s %s", reason, detail)
        self.reason = reason
        self._work.set()

    def open(self, trace: Trace) -> None:
        """Write an accepted request to the journal: from now on it will have a usage record.

        Raises DatabaseUnavailable.
        """
        self.require()
        request = trace.request
        facts = [
            request.id,
            trace.started_at,
            trace.key_id,
            trace.user_id,
            request.asked_at,
            request.model,
        ]
        try:
            self._slots[request.id] = self._journal.write([*facts, request.stream])
        except OSError as error:
            self._refuse_requests(DISK_FULL if is_disk_full(error) else JOURNAL_FAILS, error)
            self.require()

    async def recorded(self, trace: Trace, batches: Batches) -> Batches:
        """Pass the chunks through, and write the usage record when they end, however they end.

        The record is committed (or kept for later) when this generator has ended.
        """
        begun = False
        try:
            async with aclosing(batches):
                async for batch in batches:
                    if not begun:
                        begun = True
                        trace.first_byte_ms = (time.perf_counter() - trace.began) * 1000
                    yield batch
        finally:
            await self.close(trace, ending(sys.exc_info()[1], begun))

    async def close(self, trace: Trace, end: Ending) -> None:
        """Count the request's tokens and write its usage record.

        Returns when the record is committed, or kept for later. When the caller leaves meanwhile,
        only the waiting ends, not the writing.
        """
        try:
            trace.meter.counted = await token_count.count_request(trace.meter)
        except asyncio.CancelledError:
            trace.meter.counted = token_count.estimate_request(trace.meter)
            self._queue(trace, end)
            raise
        except Exception:
            logger.exception("the tokens of a request could not be counted")
            trace.meter.counted = TokenUsage(estimated=True)
        await self._queue(trace, end)

    def _queue(self, trace: Trace, end: Ending) -> "asyncio.Future[None]":
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        row = usage_rows.finished(trace, end.status, end.http_status, end.error_code)
        self._waiting.append(Waiting(row, self._slots.pop(trace.request.id), waiter))
        self._work.set()
        if not self._keeping:
            waiter.set_result(None)
        return waiter

    # --- the writing task -------------------------------------------------------------------------
    async def keep(self) -> None:
        """Write batches until cancelled; after that, no request waits for a commit."""
        self._keeping = True
        try:
            while True:
                if self.away:
                    await self._return()
                else:
                    await self._work.wait()
                    await asyncio.sleep(0)  # requests that end in this turn of the loop join
                await self.flush()
        finally:
            self._keeping = False
            for waiting in self._waiting:
                if not waiting.done.done():
                    waiting.done.set_result(None)

    async def flush(self) -> None:
        """Write the rows that wait, and wake the requests that wait for them."""
        self._work.clear()
        batch = self._waiting
        self._waiting = []
        if not batch:
            return
        rows = [waiting.row for waiting in batch]
        try:
            if not self.away:
                await self._rows.write(rows)
        except WriteFailed as error:
            self._refuse_requests(DISK_FULL if error.disk_full else DATABASE_AWAY, error)
        except Exception as error:
            logger.exception("rows could not be written by a fault of ours")
            self._refuse_requests(DATABASE_AWAY, error)
        except BaseException:
            self._waiting = batch + self._waiting
            raise
        if self.away:
            await self._set_aside(batch)
        else:
            for waiting in batch:
                self._journal.erase(waiting.slot)
        for waiting in batch:
            if not waiting.done.done():
                waiting.done.set_result(None)

    async def _set_aside(self, batch: list[Waiting]) -> None:
        """Write rows to the spool, or keep them in memory when it cannot take them."""
        try:
            await self._add_to_spool([waiting.row for waiting in batch])
        except (SpoolFull, OSError) as error:
            if is_disk_full(error):
                self._refuse_requests(DISK_FULL, error)
            for waiting in batch:
                self._unwritten.add(waiting.row, waiting.slot, error)
        else:
            for waiting in batch:
                self._journal.erase(waiting.slot)

    async def _add_to_spool(self, rows: list[Row]) -> None:
        """Write rows to the spool in a thread.

        Raises SpoolFull, OSError.
        """
        await asyncio.get_running_loop().run_in_executor(None, self._spool.add, rows)

    async def _return(self) -> None:
        """Try to write all rows kept for later; accept requests again when that succeeds."""
        try:
            await self.replay()
            await self._write_unwritten(self._rows.write)
            self._journal.make_room()
        except WriteFailed as error:
            await self._spool_unwritten()
            if error.disk_full or not self._unwritten:
                self._refuse_requests(DISK_FULL if error.disk_full else DATABASE_AWAY, error)
            await asyncio.sleep(RETRY_SECONDS)
        except OSError as error:
            self._refuse_requests(DISK_FULL if is_disk_full(error) else JOURNAL_FAILS, error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self.reason = ""
            logger.warning("requests are taken again")

    async def _write_unwritten(self, write: Callable[[list[Row]], Awaitable[None]]) -> None:
        """Write the rows that are kept in memory with `write`.

        Raises the errors of `write`.
        """
        while some := self._unwritten.first(REPLAYED_AT_ONCE):
            await write([kept.row for kept in some])
            self._unwritten.remove(some)

    async def _spool_unwritten(self) -> None:
        """Move rows from memory to the spool, as far as the disk takes them."""
        with suppress(SpoolFull, OSError):
            await self._write_unwritten(self._add_to_spool)

    # --- rows of dead processes -------------------------------------------------------------------
    async def replay(self) -> int:
        """Write the rows of all spools and return how many.

        Raises WriteFailed.
        """
        return await self._recovery.replay()

    async def sweep(self) -> int:
        """Write rows for requests that dead processes left in their journals; return how many.

        Raises WriteFailed.
        """
        return await self._recovery.sweep()

    async def shut(self) -> None:
        """Write all that waits, and close writer and journal; no request may be running."""
        await self.flush()
        with suppress(WriteFailed):
            await self._write_unwritten(self._rows.write)
        await self._spool_unwritten()
        await self._writer.close()
        self._journal.close()
