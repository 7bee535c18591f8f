"""Locks by key: callers with the same key share one lock, which exists only while it is in use."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

LockType = TypeVar("LockType")  # of asyncio or of threading


class KeyedLocks(Generic[LockType]):
    """Locks of one kind, one for each key that is in use.

    `make_lock` makes a lock: `asyncio.Lock` or `threading.Lock`. A lock is dropped when nothing
    refers to it any more, so unused keys take no memory.
    """

    def __init__(self, make_lock: Callable[[], LockType]) -> None:
        self._make_lock = make_lock
        self._locks: WeakValueDictionary[Hashable, LockType] = WeakValueDictionary()
        self._guard = threading.Lock()

    def __len__(self) -> int:
        """Return the number of keys that have a lock now."""
        return len(self._locks)

    def get_lock(self, key: Hashable) -> LockType:
        """Return the lock of the key; any thread may call it.

        Keep a reference for as long as the lock is needed.
        """
        with self._guard:
            lock = self._locks.get(key)
            if lock is None:
                lock = self._locks[key] = self._make_lock()
            return lock
