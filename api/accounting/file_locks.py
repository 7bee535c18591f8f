"""Files that a process keeps while it lives and another one finishes when it has died: the lock
tells which.

A file that cannot be read stops nobody: it is logged once and renamed to `*.unreadable`.
"""

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

UNREADABLE = ".unreadable"
PASSING = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EINTR,
    errno.ENOLCK,
)  # not the file's fault


@contextmanager
def claimed(path: Path) -> Iterator[bytes | None]:
    """The bytes of a file that nobody holds, locked meanwhile; None when somebody does or the file
    is gone.

    Raises OSError when it cannot be read.
    """
    try:
        file = open_regular_file(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield read_all(file) if is_free(path, file) else None
    finally:
        os.close(file)


def is_free(path: Path, file: int) -> bool:
    """Lock the open file; returns whether nobody else holds it and it is still at its path."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return still_at(path, file)


def open_regular_file(path: Path, flags: int) -> int:
    """Open a file, never waiting for the other end of a pipe. Raises OSError on anything but a
    regular file.
    """
    file = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def read_regular_file(path: Path) -> bytes:
    """Return a file's bytes. Raises OSError."""
    file = open_regular_file(path, os.O_RDONLY)
    try:
        return read_all(file)
    finally:
        os.close(file)


def read_all(file: int) -> bytes:
    """Return what is in an open file from where it stands."""
    pieces = []
    while piece := os.read(file, 2**20):
        pieces.append(piece)
    return b"".join(pieces)


def still_at(path: Path, file: int) -> bool:
    """Whether the open file is the one at `path`, and not one that was removed from there."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


class SetAside:
    """The files that this process could not deal with: each is logged once, and not looked at
    again.
    """

    def __init__(self) -> None:
        self._logged: set[str] = set()
        self._skipped: set[Path] = set()

    def among(self, paths: list[Path]) -> list[Path]:
        """Return the paths that are worth a look."""
        return [path for path in paths if path not in self._skipped]

    def add(self, path: Path, reason: object) -> None:
        """Rename the file to `*.unreadable`; where that fails, leave it alone from now on.

        A fault that passes (too many open files) leaves the file for the next time.
        """
        if isinstance(reason, OSError) and reason.errno in PASSING:
            self._log_once(path, f"{path} cannot be read now and is left for later: {reason}")
            return
        unreadable = path.with_name(path.name + UNREADABLE)
        if unreadable.exists():
            unreadable = path.with_name(f"{path.name}.{os.urandom(4).hex()}{UNREADABLE}")
        try:
            path.rename(unreadable)
        except FileNotFoundError:
            return  # another process was faster
        except OSError as error:
            self._skipped.add(path)
            self._log_once(
                path, f"{path} cannot be read ({reason}) nor renamed ({error}); it is skipped"
            )
            return
        self._log_once(
            path, f"{path} cannot be read ({reason}); it is set aside as {unreadable.name}"
        )

    def _log_once(self, path: Path, message: str) -> None:
        name = (
            f"{path.parent.name}/{path.name.split('.')[0]}"  # a spool has another suffix each time
        )
        if name not in self._logged:
            self._logged.add(name)
            logger.error("%s", message)

    def remove(self, path: Path) -> None:
        """Delete a file whose rows are written; where that fails, leave it alone from now on."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._skipped.add(path)
            self._log_once(path, f"{path} is written and cannot be deleted: {error}")
