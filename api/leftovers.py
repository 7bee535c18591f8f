"""Files that a process keeps while it lives and another one finishes when it has died: the lock tells which."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claimed(path: Path) -> Iterator[bytes | None]:
    """The bytes of a file that nobody holds, locked meanwhile; None when somebody does or the file is gone."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = still_at(path, file)
    except BlockingIOError:
        free = False
    try:
        yield path.read_bytes() if free else None
    finally:
        os.close(file)


def still_at(path: Path, file: int) -> bool:
    """Whether the open file is the one at `path`, and not one that was removed from there."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
