"""The database wrapper, in the module where Django looks for it."""

from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from providers.queued_sqlite3.write_queue import write_queue


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that holds the write queue's lock from BEGIN until its transaction ends.

    The lock is released however the transaction ends: commit, rollback or closing.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_write_lock = False

    def _start_transaction_under_autocommit(self) -> None:
        if not write_queue.acquire(self.settings_dict["OPTIONS"].get("timeout", 5)):
            raise OperationalError("database is locked")
        self._has_write_lock = True
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:  # also when a task's time is over; all writers wait for the lock
            self._release_write_lock()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._release_write_lock()

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]
        self._release_write_lock()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._release_write_lock()

    def _release_write_lock(self) -> None:
        if self._has_write_lock:
            self._has_write_lock = False
            write_queue.release()
