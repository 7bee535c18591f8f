"""The results of one run, written in groups: while one is written, the next collects."""

import asyncio
from collections.abc import Sequence

from api.batches.part_files import LineResult, PartWriter, Tally
from providers.database.database_threads import Threads

# checking input files, writing results and making files: seconds of work each
BATCH_WORK = Threads("batches", 3)


class ResultLog:
    """Writes the results of one run, and counts those that are on the disk."""

    def __init__(self, writer: PartWriter, tally: Tally) -> None:
        self.tally = tally
        self._writer = writer
        self._waiting: list[LineResult] = []
        self._next_group: asyncio.Future[None] | None = None
        self._writing_task: asyncio.Task[None] | None = None

    async def add_result(self, result: LineResult) -> None:
        """Write a result; it is on the disk and counted when this returns. Raises OSError.

        When the task that waits is cancelled, the result is written all the same.
        """
        self._waiting.append(result)
        if self._next_group is None:
            self._next_group = asyncio.get_running_loop().create_future()
        group = self._next_group
        if self._writing_task is None:
            self._writing_task = asyncio.create_task(self._write_groups())
        await asyncio.shield(group)

    async def _write_groups(self) -> None:
        """Write groups until no result waits."""
        while self._next_group is not None:
            group = self._next_group
            results = self._waiting
            self._next_group = None
            self._waiting = []
            try:
                await BATCH_WORK.run_work(self._writer.append_results, results)
            except OSError as error:
                group.set_exception(error)
                group.exception()  # read here, in case nobody waits any more
            else:
                self._count_results(results)
                group.set_result(None)
        self._writing_task = None

    def _count_results(self, results: Sequence[LineResult]) -> None:
        for result in results:
            self.tally.add_result(result)

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._writing_task is not None:
            await asyncio.wait([self._writing_task])
        self._writer.close()
