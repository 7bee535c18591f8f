"""Recovery of the ledger: the rows in spools and the requests in journals of dead processes.

Each of them gets its row. A file that cannot be read, or a row that no database accepts, is set
aside with a line in the log. It neither stops the start nor keeps later files from being written.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from api.accounting import journal, usage_rows
from api.accounting.file_locks import UnreadableFiles, lock_and_read
from api.accounting.spool import Row, Spool, SpoolFull
from api.accounting.write_errors import RowsRefused, WriteFailed
from api.accounting.writers import Writer

logger = logging.getLogger(__name__)

REPLAY_BATCH_ROWS = 1_000


class RowWriter:
    """A writer that repairs rows which the database refuses, and keeps hopeless ones in a file."""

    def __init__(self, writer: Writer, spool: Spool) -> None:
        self._writer = writer
        self._spool = spool

    async def write_rows(self, rows: list[Row]) -> None:
        """Write a batch to the database; a row that it cannot accept does not hold up the others.

        Raises WriteFailed.
        """
        try:
            await self._writer.write_rows(rows)
        except RowsRefused as error:
            if len(rows) > 1:
                half = len(rows) // 2
                await self.write_rows(rows[:half])
                await self.write_rows(rows[half:])
            elif rows:
                await self._write_repaired(rows[0], str(error))

    async def _write_repaired(self, row: Row, reason: str) -> None:
        """Write as much as possible of a row that was refused.

        Raises WriteFailed.
        """
        try:
            attempts = [usage_rows.repair_row(row)[0], usage_rows.strip_upstream_values(row)]
        except (ValueError, TypeError) as error:
            await self.store_refused_row(row, f"{reason}; {error}")
            return
        for repaired in attempts:
            try:
                await self._writer.write_rows([repaired])
            except RowsRefused as error:
                last = error
            else:
                logger.error(
                    "the database refuses a row of request %s: %s; its facts are written",
                    row[:1],
                    reason,
                )
                return
        await self.store_refused_row(row, f"{reason}; {last}")

    async def write_from_file(self, rows: list[Row]) -> None:
        """Check, repair and write rows that were read from a file.

        Raises WriteFailed.
        """
        for start in range(0, len(rows), REPLAY_BATCH_ROWS):
            await self.write_rows(await self._repair_rows(rows[start : start + REPLAY_BATCH_ROWS]))

    async def _repair_rows(self, rows: list[Row]) -> list[Row]:
        """Return the rows as the database accepts them; write the others to a file."""
        sound = []
        for row in rows:
            try:
                repaired, refused = usage_rows.repair_row(row)
            except (ValueError, TypeError) as error:
                await self.store_refused_row(row, str(error))
                continue
            if refused:
                logger.error(
                    "request %s: a file has values that no row can hold: %s",
                    row[:1],
                    ", ".join(refused),
                )
            sound.append(repaired)
        return sound

    async def store_refused_row(self, row: Row, reason: str) -> None:
        """Write a row that no database accepts to the file of refused rows."""
        try:
            await asyncio.get_running_loop().run_in_executor(
                None, self._spool.append_refused_row, row, reason
            )
        except (SpoolFull, OSError) as error:
            logger.error(
                "a row is lost, it cannot be written (%s) nor kept (%s): %.500r", reason, error, row
            )
        else:
            logger.error(
                "a row cannot be written (%s); it is kept in %s", reason, self._spool.refused_path
            )


class Recovery:
    """The recovery of the spools and journals of one home."""

    def __init__(self, row_writer: RowWriter, spool: Spool, journal_directory: Path) -> None:
        self._row_writer = row_writer
        self._spool = spool
        self._journal_directory = journal_directory
        self._unreadable_files = UnreadableFiles()

    async def replay_spools(self) -> int:
        """Write the rows of all spools and return how many.

        Raises WriteFailed.
        """
        await self._row_writer.write_rows([])
        return await self._finish_files(self._spool.list_waiting_files, self._replay_file)

    async def sweep_journals(self) -> int:
        """Write a row for each request that a dead process left in its journal; return how many.

        Raises WriteFailed.
        """
        return await self._finish_files(
            lambda: journal.list_journals(self._journal_directory), self._sweep_journal
        )

    async def _finish_files(
        self, list_files: Callable[[], list[Path]], finish_file: Callable[[Path], Awaitable[int]]
    ) -> int:
        """Finish each file, set aside those that cannot be finished, and return the rows written.

        Raises WriteFailed.
        """
        written = 0
        try:
            paths = self._unreadable_files.exclude_skipped(list_files())
        except OSError as error:
            logger.error("files of ended processes cannot be listed: %s", error)
            return 0
        for path in paths:
            written += await self._finish_or_set_aside(path, finish_file)
        return written

    async def _finish_or_set_aside(
        self, path: Path, finish_file: Callable[[Path], Awaitable[int]]
    ) -> int:
        """Finish one file or set it aside, and return how many rows were written.

        Raises WriteFailed.
        """
        try:
            return await finish_file(path)
        except WriteFailed:
            raise
        except FileNotFoundError:
            return 0  # another process has already written it
        except OSError as error:
            self._unreadable_files.set_file_aside(path, error)
        except Exception as error:  # one damaged file must not keep the others from being written
            logger.exception("a file of an ended process could not be handled by a fault of ours")
            self._unreadable_files.set_file_aside(path, error)
        return 0

    async def _replay_file(self, path: Path) -> int:
        claimed_path = self._spool.claim_file(path)
        if claimed_path is None:
            return 0
        return await self._finish_or_set_aside(claimed_path, self._replay_claimed_file)

    async def _replay_claimed_file(self, claimed_path: Path) -> int:
        contents = await asyncio.get_running_loop().run_in_executor(
            None, self._spool.read_spool_file, claimed_path
        )
        await self._row_writer.write_from_file(contents.rows)
        self._delete_or_set_aside(claimed_path, contents.unreadable_lines, "lines")
        return len(contents.rows)

    async def _sweep_journal(self, path: Path) -> int:
        with lock_and_read(path) as data:
            if data is None:
                return 0
            entries, unreadable_slots = journal.parse_journal(data)
            rows = [usage_rows.row_from_facts(entry) for entry in entries]
            if rows:
                await self._row_writer.write_from_file(rows)
                logger.warning(
                    "%d requests that an ended process had not written are recorded", len(rows)
                )
            self._delete_or_set_aside(path, unreadable_slots, "slots")
            return len(rows)

    def _delete_or_set_aside(self, path: Path, unreadable_count: int, part_name: str) -> None:
        """Delete a file whose readable rows are written, or set it aside when it holds more."""
        if unreadable_count:
            self._unreadable_files.set_file_aside(
                path, f"{unreadable_count} of its {part_name}; all others are written"
            )
        else:
            self._unreadable_files.delete_written_file(path)
