"""The results of a batch's lines while it runs: append-only files, one for each run.

PROXYSITE_HOME/batches/<batch id>/ has the input file as `input`, a second name of the stored file,
so that a batch goes on when its owner deletes that. Beside it, <run number> has one record for each
line with a result: a head (the line's position, its kind, and four counts of tokens) and the line
of the output or error file. A result counts once it is on disk. A process that was killed may leave
half a record at the end of its file, which is skipped; the next run has a file of its own. Where
two processes answered the same line (one was believed dead), the first record counts.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from providers.durable_files import sync_directory

OUTPUT = b"o"
ERROR = b"e"
HEAD_FIELDS = 6
INPUT_NAME = "input"


class LineUsage(NamedTuple):
    """The tokens of one answered line."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0


NO_USAGE = LineUsage()


class LineResult(NamedTuple):
    """The result of one line: `text` is its line in the output or error file, as `kind` says."""

    position: int
    kind: bytes
    usage: LineUsage
    text: bytes


class Tally:
    """The lines of a batch that have a result, and the sums over them."""

    def __init__(self, line_count: int) -> None:
        self.has_result = bytearray(line_count)
        self.completed = 0
        self.failed = 0
        self.size_bytes = 0
        self.usage = NO_USAGE

    def add_result(self, result: LineResult) -> bool:
        """Count a result; return False when the line has one already."""
        if result.position >= len(self.has_result) or self.has_result[result.position]:
            return False
        self.has_result[result.position] = 1
        if result.kind == OUTPUT:
            self.completed += 1
        else:
            self.failed += 1
        self.size_bytes += len(result.text)
        self.usage = LineUsage(*map(sum, zip(self.usage, result.usage, strict=True)))
        return True

    @property
    def done_count(self) -> int:
        """Return how many lines have a result."""
        return self.completed + self.failed


class PartWriter:
    """Appends the results of one run. Its methods are for a thread, one at a time."""

    def __init__(self, batch_id: str, run_number: int) -> None:
        folder = find_folder(batch_id)
        self._file = open(folder / f"{run_number:08d}", "ab")  # noqa: SIM115 - open for a run
        sync_directory(folder)

    def append_results(self, results: Sequence[LineResult]) -> None:
        """Write results to the disk; they are safe when this returns. Raises OSError."""
        self._file.write(b"".join(map(render_record, results)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def find_folder(batch_id: str) -> Path:
    """Return the folder of a batch's parts; create it if it is missing."""
    path: Path = settings.HOME.make_path("batches", batch_id, "x").parent
    return path


def find_input(batch_id: str) -> Path:
    """Return the path of a batch's input file; a machine with another home does not have it."""
    return find_batches_folder() / batch_id / INPUT_NAME


def keep_input(batch_id: str, path: Path) -> None:
    """Keep a stored file as the input of a batch, whatever becomes of it. Raises OSError."""
    kept = find_folder(batch_id) / INPUT_NAME
    try:
        os.link(path, kept)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(path, kept)
    sync_directory(kept.parent)


def find_batches_folder() -> Path:
    """Return the folder with a folder for each batch."""
    path: Path = settings.HOME.make_path("batches", "x").parent
    return path


def render_record(result: LineResult) -> bytes:
    return b"%d %b %d %d %d %d %b\n" % (result.position, result.kind, *result.usage, result.text)


def parse_record(record: bytes) -> LineResult | None:
    """Return the result in a record; None for half a record."""
    if not record.endswith(b"\n"):
        return None
    fields = record[:-1].split(b" ", HEAD_FIELDS)
    if len(fields) != HEAD_FIELDS + 1 or fields[1] not in (OUTPUT, ERROR):
        return None
    position, kind, *counts, text = fields
    try:
        return LineResult(int(position), kind, LineUsage(*map(int, counts)), text)
    except ValueError:
        return None


def iterate_results(batch_id: str) -> Iterator[LineResult]:
    """Yield all results of a batch, the earliest run first; a line may have several."""
    for path in sorted(find_folder(batch_id).iterdir()):
        if path.name.isdigit():
            yield from read_part(path)


def read_part(path: Path) -> Iterator[LineResult]:
    """Yield the results of one run; half a record is skipped."""
    with path.open("rb") as file:
        for record in file:
            result = parse_record(record)
            if result is not None:
                yield result


def read_tally(batch_id: str, line_count: int) -> Tally:
    """Return which lines have a result. Takes seconds for a large batch."""
    tally = Tally(line_count)
    for result in iterate_results(batch_id):
        tally.add_result(result)
    return tally


def delete_parts(batch_id: str) -> None:
    """Delete the folder of a batch; a missing one is no error."""
    shutil.rmtree(find_batches_folder() / batch_id, ignore_errors=True)
