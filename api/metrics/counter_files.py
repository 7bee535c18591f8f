"""Share the counters of the processes of one home, so that any of them can answer /metrics.

Each process has a file with its counters in `metrics/`, which it keeps locked while it lives and
writes anew every WRITE_SECONDS. A process that starts takes over the counters of those that have
ended, so that no counter ever falls. One lock over all files is held for a moment by who writes,
takes over or reads.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from api.accounting.file_locks import read_regular_file, try_lock_file
from api.metrics.request_counters import RequestCounters
from providers.protocol.json_types import JsonObject

logger = logging.getLogger(__name__)
WRITE_SECONDS = 2.0
SUFFIX = ".counters"


class CounterFiles:
    """The file of this process among those of its home."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._path = directory / f"{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        with self._lock_all(fcntl.LOCK_EX):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def take_over(self, counters: RequestCounters) -> None:
        """Add the counters of processes that have ended, and delete their files.

        Blocks for a moment; for a thread.
        """
        with self._lock_all(fcntl.LOCK_EX):
            ended = [path for path in self._list_others() if not is_locked(path)]
            for path in ended:
                add_file(path, counters)
            if ended:
                self._write(counters, {})
            for path in ended:
                path.unlink(missing_ok=True)

    def write_counters(self, counters: RequestCounters, gauges: JsonObject) -> None:
        """Write the counters and the present values of this process. For a thread."""
        with self._lock_all(fcntl.LOCK_EX):
            self._write(counters, gauges)

    def _write(self, counters: RequestCounters, gauges: JsonObject) -> None:
        data = orjson.dumps(counters.as_json() | {"gauges": gauges})
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))

    def add_others(self, counters: RequestCounters) -> list[JsonObject]:
        """Add the counters of all other processes; return the present values of each.

        For a thread.
        """
        with self._lock_all(fcntl.LOCK_SH):
            return [add_file(path, counters) for path in self._list_others()]

    def close(self) -> None:
        """Give up the file: the next process takes its counters over."""
        os.close(self._file)

    def _list_others(self) -> list[Path]:
        return [path for path in self._directory.glob(f"*{SUFFIX}") if path != self._path]

    @contextmanager
    def _lock_all(self, kind: int) -> Iterator[None]:
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)


def is_locked(path: Path) -> bool:
    """Return whether a living process has this file."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return not try_lock_file(path, file)
    finally:
        os.close(file)


def add_file(path: Path, counters: RequestCounters) -> JsonObject:
    """Add a file's counters, and return the present values in it; a bad file counts nothing."""
    try:
        content = orjson.loads(read_regular_file(path) or b"{}")
        if content:
            counters.add_json(content)
        gauges: JsonObject = content.get("gauges") or {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("the counters in %s are left out: %s", path.name, error)
        return {}
    return gauges
