"""The journal: the requests in flight, on disk, so that even `kill -9` loses none.

Each process has a small memory-mapped file. Each request has a slot in it (two bytes of length,
then JSON) from its acceptance until its row is committed. Data in the page cache survives the
process. A living process keeps its file locked; `list_journals` lists the files, and those that
nobody locks belong to dead processes. When a finished row cannot be written anywhere, its slot says
how the request ended: the disk space of the slot is already allocated.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

SLOT_BYTES = 512
MOST_DATA_BYTES = SLOT_BYTES - 2  # the first two bytes are the length
FIRST_SLOTS = 128
Facts = list[Any]  # the values of one request, as JSON
# the facts of a running request, named as the columns of its row
RUNNING_FACTS = ("id", "started_at", "key_id", "user_id", "endpoint", "model", "stream", "team_id")
# those that a finished request has besides
ENDED_FACTS = (
    "status",
    "http_status",
    "error_code",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "estimated",
    "total_ms",
    "cache_write_tokens",
    "cost_micro_usd",
    "price_id",
    "reported_cost_micro_usd",
)
FACT_COUNT = len(RUNNING_FACTS)
# How a request ended whose process died.
INTERRUPTED_FACTS = ("interrupted", None, "interrupted", 0, 0, 0, 0, False, None, 0)
UNKNOWN_COST = (None, None, None)
# Earlier releases wrote running requests without a team, and ended ones without team and cost, the
# first of them without cache-write tokens.
FIRST_FACT_COUNT = 7
FIRST_ENDED_COUNTS = (16, 17)
FACT_COUNTS = frozenset(
    (FIRST_FACT_COUNT, FACT_COUNT, *FIRST_ENDED_COUNTS, FACT_COUNT + len(ENDED_FACTS))
)


class Journal:
    """The journal of this process, one file in `directory`.

    The file is created at once. `close` deletes it when no request is in flight.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = directory / f"{os.getpid()}-{os.urandom(4).hex()}.journal"
        draft = self.path.with_suffix(".draft")  # no sweep sees it unlocked
        self._descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # so that a full disk is an error here, not a signal later
            os.posix_fallocate(self._descriptor, 0, FIRST_SLOTS * SLOT_BYTES)
            draft.rename(self.path)
        except OSError:
            os.close(self._descriptor)
            draft.unlink(missing_ok=True)
            raise
        self._map = mmap.mmap(self._descriptor, FIRST_SLOTS * SLOT_BYTES)
        self._free_slots = list(range(FIRST_SLOTS))
        self._slot_count = FIRST_SLOTS

    def write_facts(self, facts: Facts) -> int:
        """Write a request's facts to a free slot and return the slot.

        Raises OSError when the disk is full.
        """
        self.ensure_free_slot()
        slot = self._free_slots.pop()
        self.replace_facts(slot, facts)
        return slot

    def replace_facts(self, slot: int, facts: Facts) -> None:
        """Replace the facts in a request's slot.

        The texts among facts that do not fit are cut to 64 characters, then to 44 ASCII characters.
        """
        data = orjson.dumps(facts)
        if len(data) > MOST_DATA_BYTES:
            data = orjson.dumps(change_texts(facts, lambda text: text[:64]))
        if len(data) > MOST_DATA_BYTES:
            data = orjson.dumps(change_texts(facts, lambda text: ascii(text)[1:45]))
        start = slot * SLOT_BYTES
        self._map[start : start + 2] = b"\0\0"  # a half-written slot counts as empty
        self._map[start + 2 : start + 2 + len(data)] = data
        self._map[start : start + 2] = len(data).to_bytes(2, "big")

    def read_facts(self, slot: int) -> Facts:
        """Return the facts in a request's slot."""
        start = slot * SLOT_BYTES
        length = int.from_bytes(self._map[start : start + 2], "big")
        facts: Facts = orjson.loads(self._map[start + 2 : start + 2 + length])
        return facts

    def release_slot(self, slot: int) -> None:
        """Free the slot of a request whose row is committed."""
        start = slot * SLOT_BYTES
        self._map[start : start + 2] = b"\0\0"
        self._free_slots.append(slot)

    def ensure_free_slot(self) -> None:
        """Make sure that there is a free slot: double the file when there is none.

        Raises OSError when the disk is full.
        """
        if not self._free_slots:
            self._double_file()

    def _double_file(self) -> None:
        slot_count = self._slot_count * 2
        os.posix_fallocate(self._descriptor, 0, slot_count * SLOT_BYTES)
        self._map.resize(slot_count * SLOT_BYTES)
        self._free_slots.extend(range(self._slot_count, slot_count))
        self._slot_count = slot_count

    def close(self) -> None:
        if len(self._free_slots) == self._slot_count:
            self.path.unlink(missing_ok=True)
        self._map.close()
        os.close(self._descriptor)


def change_texts(facts: Facts, change_text: Callable[[str], str]) -> Facts:
    return [change_text(fact) if isinstance(fact, str) else fact for fact in facts]


class JournalContents(NamedTuple):
    """The requests in a journal, and how many of its slots cannot be read."""

    entries: list[Facts]
    unreadable_slots: int


def parse_journal(data: bytes) -> JournalContents:
    """Return the requests in a journal's bytes, each with one of FACT_COUNTS values."""
    entries = []
    unreadable_slots = 0
    for start in range(0, len(data) - 1, SLOT_BYTES):
        length = int.from_bytes(data[start : start + 2], "big")
        if not length:
            continue
        facts = parse_slot(data[start + 2 : start + SLOT_BYTES], length)
        if facts is None:
            unreadable_slots += 1
        else:
            entries.append(facts)
    return JournalContents(entries, unreadable_slots)


def parse_slot(data: bytes, length: int) -> Facts | None:
    """Return the facts in a slot's bytes, or None when it cannot be read."""
    if length > MOST_DATA_BYTES:
        return None
    try:
        facts = orjson.loads(data[:length])
    except orjson.JSONDecodeError:
        return None
    if isinstance(facts, list) and len(facts) in FACT_COUNTS:
        return facts
    return None


def split_facts(facts: Facts) -> tuple[Facts, Facts]:
    """Return the facts of a request as RUNNING_FACTS and ENDED_FACTS, of any release.

    A request that had not ended is marked as interrupted.
    """
    if len(facts) == FIRST_FACT_COUNT:
        facts = [*facts, None]
    if len(facts) == FACT_COUNT:
        return facts, [*INTERRUPTED_FACTS, *UNKNOWN_COST]
    if len(facts) in FIRST_ENDED_COUNTS:
        running = [*facts[:FIRST_FACT_COUNT], None]
        ended = [*facts[FIRST_FACT_COUNT:], 0][: len(ENDED_FACTS) - len(UNKNOWN_COST)]
        return running, [*ended, *UNKNOWN_COST]
    return facts[:FACT_COUNT], facts[FACT_COUNT:]


def require_journal_writable(directory: Path) -> None:
    """Raise OSError unless a journal can be created here.

    The disk may be full, or the directory belong to another user.
    """
    Journal(directory).close()


def list_journals(directory: Path) -> list[Path]:
    """Return all journals in the directory, those of living processes included.

    `file_locks.lock_and_read` tells them apart.
    """
    return sorted(directory.glob("*.journal"))
