"""Finished rows that neither the database nor the spool takes: kept in memory, within a bound, and
tried again.

How each request ended also stands in its slot of the journal, whose room on the disk is taken:
should this process die before, the next one writes the row from there.
"""

import logging
from typing import NamedTuple

import orjson

from api.accounting import usage_rows
from api.accounting.journal import Journal
from api.accounting.spool import Row

logger = logging.getLogger(__name__)


class Kept(NamedTuple):
    """A row in memory, its size, and the journal's slot of its request."""

    row: Row
    size_bytes: int
    slot: int


class Unwritten:
    """The rows of one process; `limit_bytes` bounds them. Beyond it only the journal has what is
    left of a row.
    """

    def __init__(self, journal: Journal, limit_bytes: int) -> None:
        self._journal = journal
        self._limit = limit_bytes
        self._kept: list[Kept] = []
        self._slots: list[int] = []  # of rows that only the journal has
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept) + len(self._slots)

    def add(self, row: Row, slot: int, reason: object) -> None:
        """Keep a row."""
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
        """Return the oldest rows."""
        if self._kept:
            return self._kept[:most]
        return [
            Kept(usage_rows.from_journal(self._journal.read(slot)), 0, slot)
            for slot in self._slots[:most]
        ]

    def remove(self, written: list[Kept]) -> None:
        """These rows are written: the oldest, as `first` returned them."""
        del (self._kept or self._slots)[: len(written)]
        for kept in written:
            self._size -= kept.size_bytes
            self._journal.erase(kept.slot)
