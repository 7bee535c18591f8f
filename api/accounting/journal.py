"""Requests in flight, on disk: a small memory-mapped file per process, so that even `kill -9` loses
none.

Each request has a slot (two bytes of length, then JSON) from its acceptance until its row is
committed. What the page cache holds survives the process. A living process keeps its file locked;
`orphans` finds the files nobody locks. Where a finished row cannot be written anywhere, its slot
says how the request ended: its room on the disk is taken.
"""

import fcntl
import mmap
import os
from pathlib import Path
from typing import Any, NamedTuple

import orjson

SLOT_BYTES = 512
FIRST_SLOTS = 128
FACTS = 7  # of a request: id, start, key, user, endpoint, model, stream
ENDED = 16  # these and how it ended, as `usage_rows.to_journal` makes them


class Journal:
    """This process's file in `directory`; made at once, removed by `close` when no request is in
    flight.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = directory / f"{os.getpid()}-{os.urandom(4).hex()}.journal"
        draft = self.path.with_suffix(".draft")  # no sweep looks at it until it is locked
        self._file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(
                self._file, 0, FIRST_SLOTS * SLOT_BYTES
            )  # a full disk is an error here, no signal later
            draft.rename(self.path)
        except OSError:
            os.close(self._file)
            draft.unlink(missing_ok=True)
            raise
        self._map = mmap.mmap(self._file, FIRST_SLOTS * SLOT_BYTES)
        self._free = list(range(FIRST_SLOTS))
        self._slots = FIRST_SLOTS

    def write(self, facts: list[Any]) -> int:
        """Note a request; returns its slot. Raises OSError when the disk is full."""
        self.make_room()
        slot = self._free.pop()
        self.rewrite(slot, facts)
        return slot

    def rewrite(self, slot: int, facts: list[Any]) -> None:
        """Note something else of a request. Facts that do not fit are stored without their
        texts.
        """
        data = orjson.dumps(facts)
        if len(data) > SLOT_BYTES - 2:
            data = orjson.dumps([fact[:64] if isinstance(fact, str) else fact for fact in facts])
        if len(data) > SLOT_BYTES - 2:
            data = orjson.dumps(
                [ascii(fact)[1:45] if isinstance(fact, str) else fact for fact in facts]
            )
        start = slot * SLOT_BYTES
        self._map[start : start + 2] = b"\0\0"  # a half-written slot is none
        self._map[start + 2 : start + 2 + len(data)] = data
        self._map[start : start + 2] = len(data).to_bytes(2, "big")

    def read(self, slot: int) -> list[Any]:
        """Return what is noted of a request."""
        start = slot * SLOT_BYTES
        length = int.from_bytes(self._map[start : start + 2], "big")
        facts: list[Any] = orjson.loads(self._map[start + 2 : start + 2 + length])
        return facts

    def erase(self, slot: int) -> None:
        """The request's row is committed."""
        start = slot * SLOT_BYTES
        self._map[start : start + 2] = b"\0\0"
        self._free.append(slot)

    def make_room(self) -> None:
        """Have a free slot. Raises OSError when the disk is full."""
        if not self._free:
            self._grow()

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


class Contents(NamedTuple):
    """The requests that a journal notes, and how many of its slots cannot be read."""

    entries: list[list[Any]]
    unreadable_slots: int


def read_slots(data: bytes) -> Contents:
    """Return what a journal's bytes note. An entry has FACTS values, or ENDED."""
    found = []
    unreadable = 0
    for start in range(0, len(data) - 1, SLOT_BYTES):
        length = int.from_bytes(data[start : start + 2], "big")
        if not length:
            continue
        try:
            facts = orjson.loads(data[start + 2 : start + 2 + min(length, SLOT_BYTES - 2)])
        except orjson.JSONDecodeError:
            facts = None
        if isinstance(facts, list) and len(facts) in (FACTS, ENDED) and length <= SLOT_BYTES - 2:
            found.append(facts)
        else:
            unreadable += 1
    return Contents(found, unreadable)


def require_room(directory: Path) -> None:
    """Raise OSError unless a journal can be made here: the disk is full, or somebody else's."""
    Journal(directory).close()


def orphans(directory: Path) -> list[Path]:
    """All journals in the directory, those of the living included: `leftovers.claimed` tells them
    apart.
    """
    return sorted(directory.glob("*.journal"))
