"""The two ways in which writing rows fails: the database cannot take them now, or never."""

import errno
import sqlite3

DISK_FULL = "the disk is full"


class WriteFailed(Exception):
    """The database did not accept the rows, or did not confirm them in time."""

    def __init__(self, message: str, *, disk_full: bool = False) -> None:
        super().__init__(DISK_FULL if disk_full else message)
        self.disk_full = disk_full


class RowsRefused(Exception):
    """The database answers, but cannot hold a row of the batch; none of the batch was written."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error of a driver or of the system says that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(error, "sqlstate", None) == "53100"  # Postgres's disk_full
