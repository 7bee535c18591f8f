"""Whose turn it is to write to the SQLite database of this process: first come, first served, the
ledger before all.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class WriteQueue:
    """A lock that is handed to who waits longest. It belongs to no thread: whoever holds it may
    give it back.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False

    def acquire(self, timeout_seconds: float, *, first: bool = False) -> bool:
        """Take the lock, or return False when it was not to be had in time. `first`: before all who
        wait.
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
            if handed_over.is_set():  # it came at the last moment
                return True
            self._waiting.remove(handed_over)
            return False

    def release(self) -> None:
        """Give the lock to the next one who waits."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False

    @contextmanager
    def held(self, timeout_seconds: float, *, first: bool = False) -> Iterator[None]:
        """Hold the lock during the block. Raises TimeoutError."""
        if not self.acquire(timeout_seconds, first=first):
            raise TimeoutError("database is locked")
        try:
            yield
        finally:
            self.release()


write_queue = WriteQueue()
