"""Usage records that neither the database nor the spool accepts.

They are kept in memory, up to a limit, and tried again. How each request ended also stands in its
slot of the journal, whose disk space is already allocated. If this process dies first, the next one
writes the row from there.
"""

import logging
from typing import NamedTuple

import orjson

from api.accounting import usage_rows
from api.accounting.journal import Journal
from api.accounting.spool import Row

logger = logging.getLogger(__name__)


class Kept(NamedTuple):
    """A row in memory, its size, and the journal slot of its request."""

    row: Row
    size_bytes: int
    slot: int


class Unwritten:
    """The unwritten rows of one process, at most `limit_bytes` of them in memory.

    Of rows beyond the limit only the facts in the journal are left.
    """

    def __init__(self, journal: Journal, limit_bytes: int) -> None:
        self._journal = journal
        self._limit = limit_bytes
        self._kept: list[Kept] = []
        self._slots: list[int] = []  # slots of the rows that only the journal has
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept) + len(self._slots)

    def add(self, row: Row, slot: int, reason: object) -> None:
        """Keep a row in memory, or only in the journal when the limit is reached.

        Writes the facts of the row to its journal slot.
        """
        self._journal.rewrite(slot, usage_rows.to_journal(row))
        kept = Kept(row, len(orjson.dumps(row, default=str)), slot)
        if self._size + kept.size_bytes > self._limit:
            if not self._slots:
                logger.error(
                    "no room for more rows in memory, the journal has their facts: %s", reason
                )
            self._slots.append(slot)
            return
        if not self._kept:
            logger.error("rows are kept in memory: %s", reason)
        self._kept.append(kept)
        self._size += kept.size_bytes

    def first(self, most: int) -> list[Kept]:
        """Return at most `most` of the oldest rows."""
        if self._kept:
            return self._kept[:most]
        return [
            Kept(usage_rows.from_journal(self._journal.read(slot)), 0, slot)
            for slot in self._slots[:most]
        ]

    def remove(self, written: list[Kept]) -> None:
        """Remove rows that are written now, and erase their journal slots.

        `written` must be the oldest rows, as `first` returned them.
        """
        del (self._kept or self._slots)[: len(written)]
        for kept in written:
            self._size -= kept.size_bytes
            self._journal.erase(kept.slot)
