"""A queue for writers of one process's SQLite database: first come, first served.

The ledger goes before all others (`first=True`).
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class WriteQueue:
    """A lock that is handed to the longest waiting caller.

    It belongs to no thread: any thread may release it.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False

    def acquire(self, timeout_seconds: float, *, first: bool = False) -> bool:
        """Take the lock, or return False when it is not free within `timeout_seconds`.

        With `first` the caller is put at the head of the queue.
        """
        with self._mutex:
            if not self._is_taken:
                self._is_taken = True
                return True
            handed_over = threading.Event()
            if first:
                self._waiting.appendleft(handed_over)
            else:
                self._waiting.append(handed_over)
        if handed_over.wait(timeout_seconds):
            return True
        with self._mutex:
            if handed_over.is_set():  # the lock came just after the wait timed out
                return True
            self._waiting.remove(handed_over)
            return False

    def release(self) -> None:
        """Hand the lock to the next caller in the queue."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False

    @contextmanager
    def hold_lock(self, timeout_seconds: float, *, first: bool = False) -> Iterator[None]:
        """Hold the lock during the block. Raises TimeoutError when it is not free in time."""
        if not self.acquire(timeout_seconds, first=first):
            raise TimeoutError("database is locked")
        try:
            yield
        finally:
            self.release()


write_queue = WriteQueue()
