"""Requests in flight, on disk: a small memory-mapped file per process, so that even `kill -9` loses none.

Each request has a slot (two bytes of length, then JSON) from its acceptance until its row is committed. What the page
cache holds survives the process. A living process keeps its file locked; `orphans` finds the files nobody locks.
"""

import fcntl
import mmap
import os
from pathlib import Path
from typing import Any

import orjson

SLOT_BYTES = 512
FIRST_SLOTS = 128
FACTS = 7  # of a request: id, start, key, user, endpoint, model, stream


class Journal:
    """This process's file in `directory`; made at once, removed by `close` when no request is in flight."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = directory / f"{os.getpid()}-{os.urandom(4).hex()}.journal"
        draft = self.path.with_suffix(".draft")  # no sweep looks at it until it is locked
        self._file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(self._file, 0, FIRST_SLOTS * SLOT_BYTES)  # a full disk is an error here, not a signal later
        draft.rename(self.path)
        self._map = mmap.mmap(self._file, FIRST_SLOTS * SLOT_BYTES)
        self._free = list(range(FIRST_SLOTS))
        self._slots = FIRST_SLOTS

    def write(self, facts: list[Any]) -> int:
        """Note a request; returns its slot. Facts that do not fit are stored without their texts."""
        if not self._free:
            self._grow()
        data = orjson.dumps(facts)
        if len(data) > SLOT_BYTES - 2:
            data = orjson.dumps([fact[:64] if isinstance(fact, str) else fact for fact in facts])
        slot = self._free.pop()
        start = slot * SLOT_BYTES
        self._map[start + 2 : start + 2 + len(data)] = data
        self._map[start : start + 2] = len(data).to_bytes(2, "big")
        return slot

    def erase(self, slot: int) -> None:
        """The request's row is committed."""
        start = slot * SLOT_BYTES
        self._map[start : start + 2] = b"\0\0"
        self._free.append(slot)

    def _grow(self) -> None:
        more = self._slots * 2
        os.posix_fallocate(self._file, 0, more * SLOT_BYTES)
        self._map.resize(more * SLOT_BYTES)
        self._free.extend(range(self._slots, more))
        self._slots = more

    def close(self) -> None:
        if len(self._free) == self._slots:
            self.path.unlink(missing_ok=True)
        self._map.close()
        os.close(self._file)


def entries(data: bytes) -> list[list[Any]]:
    """The requests noted in a journal's bytes."""
    found = []
    for start in range(0, len(data) - 1, SLOT_BYTES):
        length = int.from_bytes(data[start : start + 2], "big")
        if 0 < length <= SLOT_BYTES - 2:
            try:
                facts = orjson.loads(data[start + 2 : start + 2 + length])
            except orjson.JSONDecodeError:
                continue  # the process died while it wrote this slot: the request was not accepted yet
            if isinstance(facts, list) and len(facts) == FACTS:
                found.append(facts)
    return found


def orphans(directory: Path) -> list[Path]:
    """All journals in the directory, those of the living included: `leftovers.claimed` tells them apart."""
    return sorted(directory.glob("*.journal"))
