"""Files that a process locks while it lives and another process finishes after its death.

A file that cannot be read stops nothing: it is logged once and renamed to `*.unreadable`.
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

UNREADABLE_SUFFIX = ".unreadable"
TRANSIENT_ERRNOS = (  # faults that pass, not those of the file
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EINTR,
    errno.ENOLCK,
)


@contextmanager
def lock_and_read(path: Path) -> Iterator[bytes | None]:
    """Lock a file during the block and yield its bytes; None when it is locked or gone.

    Raises OSError when it cannot be read.
    """
    try:
        file = open_regular_file(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield read_all(file) if try_lock_file(path, file) else None
    finally:
        os.close(file)


def try_lock_file(path: Path, descriptor: int) -> bool:
    """Lock the open file; return whether nobody else holds it and it is still at its path."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return is_still_at(path, descriptor)


def open_regular_file(path: Path, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe, and return its descriptor.

    Raises OSError on anything but a regular file.
    """
    file = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def read_regular_file(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises OSError.
    """
    file = open_regular_file(path, os.O_RDONLY)
    try:
        return read_all(file)
    finally:
        os.close(file)


def read_all(descriptor: int) -> bytes:
    """Return the bytes of an open file from its position to its end."""
    pieces = []
    while piece := os.read(descriptor, 2**20):
        pieces.append(piece)
    return b"".join(pieces)


def is_still_at(path: Path, descriptor: int) -> bool:
    """Return whether the open file is still at `path`: it may have been removed from there."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class UnreadableFiles:
    """The files that this process could not handle: each is logged once and skipped then."""

    def __init__(self) -> None:
        self._logged: set[str] = set()
        self._skipped: set[Path] = set()

    def exclude_skipped(self, paths: list[Path]) -> list[Path]:
        """Return the paths that are not skipped."""
        return [path for path in paths if path not in self._skipped]

    def set_file_aside(self, path: Path, reason: object) -> None:
        """Rename the file to `*.unreadable`, or skip it from now on when renaming fails.

        A fault that passes (too many open files) leaves the file for the next time.
        """
        if isinstance(reason, OSError) and reason.errno in TRANSIENT_ERRNOS:
            self._log_once(path, f"{path} cannot be read now and is left for later: {reason}")
            return
        unreadable = path.with_name(path.name + UNREADABLE_SUFFIX)
        if unreadable.exists():
            unreadable = path.with_name(f"{path.name}.{os.urandom(4).hex()}{UNREADABLE_SUFFIX}")
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
        name = f"{path.parent.name}/{path.name.split('.')[0]}"  # a spool's suffix changes each time
        if name not in self._logged:
            self._logged.add(name)
            logger.error("%s", message)

    def delete_written_file(self, path: Path) -> None:
        """Delete a file whose rows are written, or skip it from now on when deleting fails."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._skipped.add(path)
            self._log_once(path, f"{path} is written and cannot be deleted: {error}")
