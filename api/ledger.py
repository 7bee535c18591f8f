"""The ledger: exactly one row per accepted request, committed before its last byte is sent.

`open` notes a request in the journal; `recorded` passes its chunks through and, however they end, has the row written
once. Rows are committed in groups: while one batch commits, the next one collects. While the database is away rows go
to the spool and new requests are refused; rows of processes that died are written from their journals as
`interrupted`.
"""

import asyncio
import logging
import sys
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from api import counting, journal
from api.leftovers import claimed
from api.models import Status
from api.spool import Row, Spool, SpoolFull
from api.writers import RowsRefused, WriteFailed, Writer
from providers.chat import Batches, Chunk, Trace
from providers.exceptions import DatabaseUnavailable, GatewayError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5  # between two tries to reach a database that is away
REPLAYED_AT_ONCE = 1_000
CODE_LENGTH = 64
CLIENT_CLOSED = 499  # nginx's status for a caller that left


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended, as its row says it."""

    status: Status
    http_status: int
    error_code: str = ""


def ending(error: BaseException | None, begun: bool) -> Ending:
    """What the exception that ended the answer (None: nothing did) means; `begun`: chunks had come."""
    if error is None:
        return Ending(Status.COMPLETE, 200)
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return Ending(Status.ABANDONED, CLIENT_CLOSED)
    status = Status.TRUNCATED if begun else Status.ERROR
    if isinstance(error, GatewayError):
        code = "".join(filter(str.isprintable, error.shown_code or ""))  # an upstream may have chosen it
        return Ending(status, error.shown_status, code[:CODE_LENGTH])
    return Ending(status, 500, "internal_error")


def note(trace: Trace, batch: list[Chunk]) -> None:
    """Keep what counting needs of the chunks that go by."""
    for chunk in batch:
        if chunk.get("usage"):
            trace.usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            said = choice.get("delta") or choice.get("message") or choice
            if text := said.get("content") or said.get("text"):
                trace.text.append(text if isinstance(text, str) else str(text))
            if thought := said.get("reasoning_content") or said.get("reasoning"):
                trace.reasoning.append(thought if isinstance(thought, str) else str(thought))
            if calls := said.get("tool_calls") or said.get("function_call"):
                trace.text.append(str(calls))


class Waiting(NamedTuple):
    """A finished request whose row is not committed yet."""

    row: Row
    slot: int
    done: "asyncio.Future[None]"


class Ledger:
    def __init__(self, writer: Writer, spool: Spool, journals: Path) -> None:
        self._writer, self._spool = writer, spool
        self._journals = journals
        self._journal = journal.Journal(journals)
        self._slots: dict[str, int] = {}
        self._waiting: list[Waiting] = []
        self._work = asyncio.Event()
        self._keeping = True
        self.away = False  # the database does not answer

    # --- one request ----------------------------------------------------------------------------------------------
    def require(self) -> None:
        """Raise DatabaseUnavailable while the database is away: what cannot be accounted for is not begun."""
        if self.away:
            raise DatabaseUnavailable("The database is not available; nothing was sent on.", retry_after_seconds=2)

    def suspend(self) -> None:
        """The database is away, as somebody else found out; `keep` notices when it is back."""
        self.away = True
        self._work.set()

    def open(self, trace: Trace) -> None:
        """The request is accepted: from now on it will have a row. Raises DatabaseUnavailable."""
        self.require()
        request = trace.request
        facts = [request.id, trace.started_at, trace.key_id, trace.user_id, request.asked_at, request.model]
        self._slots[request.id] = self._journal.write([*facts, request.stream])

    async def recorded(self, trace: Trace, batches: Batches) -> Batches:
        """Pass the chunks through; when this generator has ended, however it did, the row is committed."""
        begun = False
        try:
            async with aclosing(batches):
                async for batch in batches:
                    if not begun:
                        begun = True
                        trace.first_byte_ms = (time.perf_counter() - trace.began) * 1000
                    note(trace, batch)
                    yield batch
        finally:
            await self.close(trace, ending(sys.exc_info()[1], begun))

    async def close(self, trace: Trace, end: Ending) -> None:
        """Have the request's row written; returns when it is committed (or spooled).

        A caller who leaves meanwhile ends the waiting, not the writing.
        """
        try:
            trace.counted = await counting.usage(trace)
        except asyncio.CancelledError:
            trace.counted = counting.rough(trace)
            self._queue(trace, end)
            raise
        await self._queue(trace, end)

    def _queue(self, trace: Trace, end: Ending) -> "asyncio.Future[None]":
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(finished(trace, end), self._slots.pop(trace.request.id), waiter))
        self._work.set()
        if not self._keeping:
            waiter.set_result(None)
        return waiter

    # --- the writing task -----------------------------------------------------------------------------------------
    async def keep(self) -> None:
        """Write batches until cancelled; nobody waits for a commit after that."""
        self._keeping = True
        try:
            while True:
                if self.away:
                    await self._return()
                else:
                    await self._work.wait()
                    await asyncio.sleep(0)  # whoever ends in this turn of the loop joins the batch
                await self.flush()
        finally:
            self._keeping = False
            for waiting in self._waiting:
                if not waiting.done.done():
                    waiting.done.set_result(None)

    async def flush(self) -> None:
        """Write what waits, and wake those who wait for it."""
        self._work.clear()
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        rows, kept = [waiting.row for waiting in batch], True
        try:
            if not self.away:
                await self._write(rows)
        except WriteFailed as error:
            logger.warning("the database is away, rows go to the spool: %s", error)
            self.away = True
        except BaseException:
            self._waiting = batch + self._waiting
            raise
        if self.away:
            kept = await self._set_aside(rows)
        for waiting in batch:
            if kept:
                self._journal.erase(waiting.slot)
            if not waiting.done.done():
                waiting.done.set_result(None)

    async def _write(self, rows: list[Row]) -> None:
        """Write a batch; a row that the database cannot take does not hold up the others. Raises WriteFailed."""
        try:
            await self._writer.write(rows)
        except RowsRefused as error:
            if len(rows) == 1:
                logger.error("the database refuses the row of request %s: %s", rows[0][:1], error)
                return
            for row in rows:
                await self._write([row])

    async def _set_aside(self, rows: list[Row]) -> bool:
        """Put rows into the spool; False when it cannot take them."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._spool.add, rows)
        except (SpoolFull, OSError) as error:
            logger.error("the spool cannot take %d rows (%s); the journal keeps their requests", len(rows), error)
            return False
        return True

    async def _return(self) -> None:
        """Try whether the database is back: replay the spools."""
        try:
            await self.replay()
            self.away = False
            logger.warning("the database is back")
        except WriteFailed:
            await asyncio.sleep(RETRY_SECONDS)

    # --- what was left behind -------------------------------------------------------------------------------------
    async def replay(self) -> int:
        """Write the rows of all spools; returns how many. Raises WriteFailed."""
        written = 0
        await self._writer.write([])
        for path in self._spool.waiting():
            taken = self._spool.take(path)
            if taken is None:
                continue
            try:
                rows = await asyncio.get_running_loop().run_in_executor(None, self._spool.read, taken)
            except FileNotFoundError:
                continue  # another process took it for left behind and has written it
            for start in range(0, len(rows), REPLAYED_AT_ONCE):
                await self._write(rows[start : start + REPLAYED_AT_ONCE])
            written += len(rows)
            taken.unlink(missing_ok=True)
        return written

    async def sweep(self) -> int:
        """Write `interrupted` rows for requests that dead processes left in their journals; returns how many."""
        written = 0
        for path in journal.orphans(self._journals):
            with claimed(path) as data:
                if data is None:
                    continue
                rows = [interrupted(facts) for facts in journal.entries(data)]
                if rows:
                    await self._write(rows)
                    logger.warning("%d requests of an ended process are recorded as interrupted", len(rows))
                written += len(rows)
                path.unlink(missing_ok=True)
        return written

    async def shut(self) -> None:
        """Write what waits and close; no request may be running."""
        await self.flush()
        await self._writer.close()
        self._journal.close()


def finished(trace: Trace, end: Ending) -> Row:
    """The row of a request that ended in this process."""
    request, usage, answered = trace.request, trace.counted, trace.answered_by
    token = answered.token_id if answered else None
    return [
        *(request.id, trace.started_at, trace.key_id, trace.user_id),
        *(answered.provider_id if answered else None, token.hex if token else None),
        *(request.asked_at, request.model, request.stream, end.status.value, end.http_status, end.error_code),
        trace.attempts_as_dicts(),
        *(usage.prompt, usage.completion, usage.reasoning, usage.cached, usage.estimated),
        *(trace.queue_ms, answered.connect_ms if answered else None, trace.first_byte_ms),
        (time.perf_counter() - trace.began) * 1000,
    ]


def interrupted(facts: list[Any]) -> Row:
    """The row of a request whose process died."""
    request_id, started_at, key_id, user_id, endpoint, model, stream = facts
    counts = [0, 0, 0, 0, False, None, None, None, None]
    status = Status.INTERRUPTED.value
    return [
        request_id,
        started_at,
        key_id,
        user_id,
        None,
        None,
        endpoint,
        model,
        stream,
        status,
        None,
        "interrupted",
        [],
        *counts,
    ]
