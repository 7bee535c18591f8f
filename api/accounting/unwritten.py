"""Usage records that neither the database nor the spool accepts.

They are kept in memory, up to a limit, and tried again. How each request ended also stands in its
slot of the journal, whose disk space is already allocated. If this process dies first, the next one
writes the row from there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import orjson

from api.accounting import usage_rows
from api.accounting.journal import Journal
from api.accounting.recovery import REPLAY_BATCH_ROWS
from api.accounting.spool import Row, Spool, SpoolFull

logger = logging.getLogger(__name__)


class KeptRow(NamedTuple):
    """A row in memory, its size, and the journal slot of its request."""

    row: Row
    size_bytes: int
    slot: int


class UnwrittenRows:
    """The unwritten rows of one process, at most `limit_bytes` of them in memory.

    Of rows beyond the limit only the facts in the journal are left.
    """

    def __init__(self, journal: Journal, spool: Spool, limit_bytes: int) -> None:
        self._journal = journal
        self._spool = spool
        self._limit_bytes = limit_bytes
        self._kept_rows: list[KeptRow] = []
        self._journal_only_slots: list[int] = []  # slots of the rows that only the journal has
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept_rows) + len(self._journal_only_slots)

    def add_row(self, row: Row, slot: int, reason: object) -> None:
        """Keep a row in memory, or only in the journal when the limit is reached.

        Writes the facts of the row to its journal slot.
        """
        self._journal.replace_facts(slot, usage_rows.facts_from_row(row))
        kept = KeptRow(row, len(orjson.dumps(row, default=str)), slot)
        if self._size_bytes + kept.size_bytes > self._limit_bytes:
            if not self._journal_only_slots:
                logger.error(
                    "no room for more rows in memory, the journal has their facts: %s", reason
                )
            self._journal_only_slots.append(slot)
            return
        if not self._kept_rows:
            logger.error("rows are kept in memory: %s", reason)
        self._kept_rows.append(kept)
        self._size_bytes += kept.size_bytes

    def oldest_rows(self, limit: int) -> list[KeptRow]:
        """Return at most `limit` of the oldest rows."""
        if self._kept_rows:
            return self._kept_rows[:limit]
        return [
            KeptRow(usage_rows.row_from_facts(self._journal.read_facts(slot)), 0, slot)
            for slot in self._journal_only_slots[:limit]
        ]

    def remove_rows(self, written_rows: list[KeptRow]) -> None:
        """Remove rows that are written now, and erase their journal slots.

        `written_rows` must be the oldest rows, as `oldest_rows` returned them.
        """
        del (self._kept_rows or self._journal_only_slots)[: len(written_rows)]
        for kept in written_rows:
            self._size_bytes -= kept.size_bytes
            self._journal.release_slot(kept.slot)

    async def write_all(self, write_rows: Callable[[list[Row]], Awaitable[None]]) -> None:
        """Write the rows with `write_rows`, oldest first, and remove those that are written.

        Raises the errors of `write_rows`.
        """
        while oldest := self.oldest_rows(REPLAY_BATCH_ROWS):
            await write_rows([kept.row for kept in oldest])
            self.remove_rows(oldest)

    async def move_to_spool(self) -> None:
        """Move the rows from memory to the spool, as far as the disk takes them."""
        with suppress(SpoolFull, OSError):
            await self.write_all(self.append_to_spool)

    async def append_to_spool(self, rows: list[Row]) -> None:
        """Write any rows to the spool, in a thread. Raises SpoolFull, OSError."""
        await asyncio.get_running_loop().run_in_executor(None, self._spool.append_rows, rows)
