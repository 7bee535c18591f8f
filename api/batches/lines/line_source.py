"""The lines of a batch that have no result yet, read in slices beside the event loop."""

import asyncio
from collections import deque
from pathlib import Path

from api.batches.lines.input_lines import InputLine, iterate_lines
from api.batches.lines.result_log import BATCH_WORK
from api.batches.part_files import Tally

SLICE_LINES = 64
SLICE_BYTES = 4 * 2**20  # a slice ends with the line that goes beyond it


class LineSource:
    """Hands out the lines of an input file one by one; at most one slice is in memory."""

    def __init__(self, path: Path, tally: Tally) -> None:
        self._has_result = bytes(tally.has_result)  # as it was when the run began
        self._file = path.open("rb")
        self._lines = iterate_lines(self._file)
        self._slice: deque[InputLine] = deque()
        self._lock = asyncio.Lock()
        self._is_at_end = False

    async def take_line(self) -> InputLine | None:
        """Return the next line without a result; None at the end of the file. Raises OSError."""
        async with self._lock:
            if not self._slice and not self._is_at_end:
                self._slice = await BATCH_WORK.run_work(self._read_slice)
                self._is_at_end = not self._slice
            return self._slice.popleft() if self._slice else None

    def _read_slice(self) -> deque[InputLine]:
        """Return the next lines without a result, none at the end of the file; in a thread."""
        lines: deque[InputLine] = deque()
        size_bytes = 0
        for line in self._lines:
            if line.position >= len(self._has_result) or self._has_result[line.position]:
                continue
            lines.append(line)
            size_bytes += len(line.raw)
            if len(lines) == SLICE_LINES or size_bytes > SLICE_BYTES:
                break
        return lines

    def close(self) -> None:
        self._file.close()
