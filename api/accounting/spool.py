"""The spool: usage records on disk while the database is away.

Each process has one bounded, fsynced file of JSON lines, which is replayed when the database is
back. Records that no database accepts stand in a file beside it. Replaying a row twice does no
harm: rows are inserted by their id, which is the request's.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from api.accounting.file_locks import is_still_at, read_regular_file
from providers.durable_files import sync_directory

Row = list[Any]


class SpoolFull(Exception):
    """The spool has reached its limit."""


class SpoolFile(NamedTuple):
    """The rows of a spool file, and how many of its lines cannot be read."""

    rows: list[Row]
    unreadable_lines: int


class Spool:
    """The spool file of this process in `directory`.

    `limit_bytes` bounds that file, and also the file of refused rows.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.refused_path = directory / "refused.jsonl"
        self._path = directory / f"{os.getpid()}-{os.urandom(4).hex()}.spool"
        self._limit_bytes = limit_bytes

    def append_rows(self, rows: list[Row]) -> None:
        """Write rows to the spool file; they are on disk when this returns.

        Raises SpoolFull or OSError; then nothing was written.
        """
        data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        is_written = False
        # a file that was claimed for replay meanwhile may have been read already: a row written
        # twice is harmless, a lost one is not
        while not is_written:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._append_durably(file, data)
                is_written = is_still_at(self._path, file)
            finally:
                os.close(file)

    def _append_durably(self, descriptor: int, data: bytes) -> None:
        """Write `data` at the end of an open file and wait until it is on disk, with the file name.

        `write_durable_file` is not used: it would write the whole file again for each row. Raises
        SpoolFull or OSError; then nothing was written.
        """
        size_before = os.fstat(descriptor).st_size
        if size_before + len(data) > self._limit_bytes:
            raise SpoolFull(f"it has reached {self._limit_bytes} bytes")
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
            if not size_before:
                sync_directory(self.directory)
        except OSError:
            os.ftruncate(descriptor, size_before)  # otherwise the next row would follow half a row
            raise

    def append_refused_row(self, row: object, reason: str) -> None:
        """Write a row that no database accepts, and the reason, to the file for the operator.

        Raises SpoolFull, OSError.
        """
        try:
            data = orjson.dumps({"reason": reason, "row": row})
        except TypeError:
            data = orjson.dumps({"reason": reason, "row": ascii(row)})
        file = os.open(
            self.refused_path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600
        )
        try:
            self._append_durably(file, data + b"\n")
        finally:
            os.close(file)

    def list_waiting_files(self) -> list[Path]:
        """Return the files of this home that wait for replay, those of dead processes included."""
        return sorted((*self.directory.glob("*.spool"), *self.directory.glob("*.taken")))

    def claim_file(self, path: Path) -> Path | None:
        """Rename a file for replay, so that nothing is added to it.

        Returns the new path, or None when another process has taken the file.
        """
        stem = path.stem.split(".")[0]
        # a random name, so that no other file is overwritten
        claimed_path = path.with_name(f"{stem}.{os.urandom(4).hex()}.taken")
        try:
            path.rename(claimed_path)
        except FileNotFoundError:
            return None
        return claimed_path

    @staticmethod
    def read_spool_file(path: Path) -> SpoolFile:
        """Return the rows of a file and the number of lines that are no row, such as a cut one.

        Raises OSError.
        """
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
