"""Finished rows while the database is away: a bounded, fsynced file of JSON lines per process,
replayed when it is back; and beside them the rows that no database takes.

Replaying a row twice does no harm: rows are inserted by their id, which is the request's.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from api.accounting.file_locks import read_regular_file, still_at
from providers.durable_files import sync_directory

Row = list[Any]


class SpoolFull(Exception):
    """The spool has reached its limit."""


class SpoolFile(NamedTuple):
    """The rows of a file, and how many of its lines are none."""

    rows: list[Row]
    unreadable_lines: int


class Spool:
    """This process's file in `directory`; `limit_bytes` bounds it, and the file of refused rows."""

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.refused_path = directory / "refused.jsonl"
        self._path = directory / f"{os.getpid()}-{os.urandom(4).hex()}.spool"
        self._limit = limit_bytes

    def add(self, rows: list[Row]) -> None:
        """On disk when this returns. Raises SpoolFull or OSError, then nothing was written."""
        data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        taken = True
        # a file taken for replay meanwhile may have been read before: rows stand twice rather than
        # never
        while taken:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._append(file, data)
                taken = not still_at(self._path, file)
            finally:
                os.close(file)

    def _append(self, file: int, data: bytes) -> None:
        """Write at the end of a file; the bytes and its name are on disk when this returns.

        No `write_durable_file`: what a file has already must not be written again for each row.
        Raises SpoolFull or OSError, then nothing was written.
        """
        before = os.fstat(file).st_size
        if before + len(data) > self._limit:
            raise SpoolFull(f"it has reached {self._limit} bytes")
        try:
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
            if not before:
                sync_directory(self.directory)
        except OSError:
            os.ftruncate(file, before)  # no half row for the next one to stand behind
            raise

    def add_refused(self, row: Any, reason: str) -> None:
        """Write a row that no database takes, and why, where an operator finds it. Raises
        SpoolFull, OSError.
        """
        try:
            data = orjson.dumps({"reason": reason, "row": row})
        except TypeError:
            data = orjson.dumps({"reason": reason, "row": ascii(row)})
        file = os.open(
            self.refused_path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600
        )
        try:
            self._append(file, data + b"\n")
        finally:
            os.close(file)

    def waiting(self) -> list[Path]:
        """Files of this home to replay, those of dead processes too."""
        return sorted((*self.directory.glob("*.spool"), *self.directory.glob("*.taken")))

    def take(self, path: Path) -> Path | None:
        """Put a file aside for replay, so that nothing is added to it; None when another process
        has done it.
        """
        taken = path.with_name(
            f"{path.stem.split('.')[0]}.{os.urandom(4).hex()}.taken"
        )  # never over another one
        try:
            path.rename(taken)
        except FileNotFoundError:
            return None
        return taken

    @staticmethod
    def read(path: Path) -> SpoolFile:
        """The rows of a file; what is no row (a line that was cut) is counted. Raises OSError."""
        rows = []
        unreadable_lines = 0
        for line in read_regular_file(path).splitlines():
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                row = None
            if isinstance(row, list):
                rows.append(row)
            elif line:
                unreadable_lines += 1
        return SpoolFile(rows, unreadable_lines)
