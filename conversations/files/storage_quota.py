"""How much of the database and the disk one user's contents take: conversations, responses, stored
completions, documents and files together. Plain functions for a database thread.

Each turn's row says how much was written for it. The sum of a user's is asked for again after
MEASURE_SECONDS, and at once when it says that he may store no more; in between this process adds
what it writes.
"""

import time
from collections.abc import Iterable
from typing import Any

import orjson
from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Coalesce
from msgspec import Struct

from conversations.messages.items import Entry
from conversations.models import Document, Item, StoredFile, Turn
from providers.exceptions import InvalidRequest

MEASURE_SECONDS = 60.0
MEASURE_AGAIN_SECONDS = 1.0  # of a user who has no room: others wait for the database too
MOST_USERS = 10_000  # whose sums are remembered
ROW_BYTES = 512  # that an item takes besides its content


class Used(Struct):
    """What a user's contents took, and what was added since it was measured."""

    bytes: int
    measured_at: float


_used: dict[int, Used] = {}


def require_room(user_id: int, size_bytes: int) -> None:
    """Raise InvalidRequest when the user may not store so much more."""
    most = settings.STORED_BYTES_PER_USER
    if not most:
        return
    used = used_by(user_id, MEASURE_SECONDS)
    if used + size_bytes > most:
        used = used_by(user_id, MEASURE_AGAIN_SECONDS)
    if used + size_bytes > most:
        raise InvalidRequest(
            f"You have stored {shown(used)} of the {shown(most)} that you may store, and this needs"
            f" {shown(size_bytes)} more. Delete conversations, responses, stored completions or "
            "files,"
            " or send store: false.",
            code="storage_limit_exceeded",
        )


def used_by(user_id: int, seconds: float) -> int:
    """Bytes of the user's contents, measured no longer ago than so many seconds."""
    found = _used.get(user_id)
    if found is None or time.monotonic() - found.measured_at > seconds:
        while len(_used) >= MOST_USERS:
            _used.pop(next(iter(_used)), None)
        found = _used[user_id] = Used(measured(user_id), time.monotonic())
    return found.bytes


def measured(user_id: int) -> int:
    """Ask the database how many bytes the user's contents take."""
    turns = Turn.objects.filter(user_id=user_id).aggregate(total=Coalesce(Sum("stored_bytes"), 0))
    texts = Document.objects.filter(user_id=user_id).aggregate(total=Coalesce(Sum("chars"), 0))
    files = StoredFile.objects.filter(user_id=user_id).aggregate(
        total=Coalesce(Sum("size_bytes"), 0)
    )
    return int(turns["total"] + texts["total"] + files["total"])


def add(user_id: int, size_bytes: int) -> None:
    """Note that so much was written for the user."""
    found = _used.get(user_id)
    if found is not None:
        found.bytes += size_bytes


def size_of(entries: Iterable[Entry | Item]) -> int:
    """Bytes that items take in the database, roughly: their object and the text that a person
    reads.
    """
    return sum(ROW_BYTES + len(entry.text) + json_size(entry.data) for entry in entries)


def json_size(value: Any) -> int:
    """Bytes of a value as JSON."""
    return len(orjson.dumps(value)) if value else 0


def shown(size_bytes: int) -> str:
    """The size as a person reads it."""
    size = float(size_bytes)
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1_024 and len(units) > 1:
        size /= 1_024
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
