"""Measure and limit the bytes that one user's contents take in database and disk.

They are conversations, responses, stored completions, documents and files together. The functions
are for a database thread. Each turn's row says how much was written for it. A user's sum is
measured again after MEASURE_SECONDS, and sooner when it says that the quota is full; in between
this process adds its own writes.
"""

import time
from collections.abc import Iterable
from functools import partial

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Coalesce
from msgspec import Struct

from conversations.messages.items import Entry
from conversations.models import Document, Item, StoredFile, Turn
from providers.exceptions import InvalidRequest

MEASURE_SECONDS = 60.0
MEASURE_AGAIN_SECONDS = 1.0  # for a user whose quota is full; limits the load on the database
MOST_USERS = 10_000  # users whose sums are remembered
ROW_BYTES = 512  # of an item, in addition to its content


class MeasuredSize(Struct):
    """The size of a user's contents: the measured sum and the writes since then."""

    size_bytes: int
    measured_at: float


_size_by_user: dict[int, MeasuredSize] = {}


def require_storage_room(user_id: int, size_bytes: int) -> None:
    """Raise InvalidRequest when the user may not store `size_bytes` more."""
    most_bytes = settings.STORED_BYTES_PER_USER
    if not most_bytes:
        return
    used_bytes = get_stored_size(user_id, MEASURE_SECONDS)
    if used_bytes + size_bytes > most_bytes:
        used_bytes = get_stored_size(user_id, MEASURE_AGAIN_SECONDS)
    if used_bytes + size_bytes > most_bytes:
        raise InvalidRequest(
            f"You have stored {format_size(used_bytes)} of the {format_size(most_bytes)} that you "
            f"may store, and this needs {format_size(size_bytes)} more. Delete conversations, "
            "responses, stored completions or files, or send store: false.",
            code="storage_limit_exceeded",
        )


def get_stored_size(user_id: int, most_age_seconds: float) -> int:
    """Return the bytes of the user's contents, measured at most `most_age_seconds` ago."""
    measured = _size_by_user.get(user_id)
    if measured is None or time.monotonic() - measured.measured_at > most_age_seconds:
        while len(_size_by_user) >= MOST_USERS:
            _size_by_user.pop(next(iter(_size_by_user)), None)
        measured = MeasuredSize(measure_stored_size(user_id), time.monotonic())
        _size_by_user[user_id] = measured
    return measured.size_bytes


def measure_stored_size(user_id: int) -> int:
    """Return the bytes that the user's contents take, from the database."""
    turns = Turn.objects.filter(user_id=user_id).aggregate(total=Coalesce(Sum("stored_bytes"), 0))
    texts = Document.objects.filter(user_id=user_id).aggregate(total=Coalesce(Sum("chars"), 0))
    files = StoredFile.objects.filter(user_id=user_id).aggregate(
        total=Coalesce(Sum("size_bytes"), 0)
    )
    return int(turns["total"] + texts["total"] + files["total"])


def add_stored_bytes(user_id: int, size_bytes: int) -> None:
    """Add to the remembered size of the user's contents; writes nothing to the database."""
    measured = _size_by_user.get(user_id)
    if measured is not None:
        measured.size_bytes += size_bytes


def add_bytes_on_commit(user_id: int, size_bytes: int) -> None:
    """Add bytes to the user's sum when the transaction is committed; a rollback adds nothing."""
    transaction.on_commit(partial(add_stored_bytes, user_id, size_bytes))


def estimate_items_bytes(entries: Iterable[Entry | Item]) -> int:
    """Estimate the bytes that items take in the database: their object and their text."""
    return sum(
        ROW_BYTES + len(entry.text) + len(entry.hidden_thinking or "") + json_size(entry.data)
        for entry in entries
    )


def json_size(value: object) -> int:
    """Return the bytes of a value as JSON, 0 for an empty one."""
    return len(orjson.dumps(value)) if value else 0


def format_size(size_bytes: int) -> str:
    """Format a size for people, with its unit."""
    if size_bytes < 1_024:
        return f"{size_bytes:.0f} bytes"
    size = size_bytes / 1_024
    units = ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1_024 and len(units) > 1:
        size /= 1_024
        units.pop(0)
    return f"{size:.1f} {units[0]}"
