"""Read the tokens that changed since the pool last read them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from providers.database.changed_rows import read_changes
from providers.database.leases import read_clock_difference
from tokens.models import UpstreamToken

COLUMNS = (
    *("id", "provider_id", "sealed", "state", "strikes", "rests_until", "expires_at"),
    *("sealed_refresh", "account_id", "priority", "weight", "reason", "changed"),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of one read: all tokens (`whole`), or the changes since a version."""

    version: int
    whole: bool
    rows: list[tuple[Any, ...]]
    deleted: tuple[UUID, ...] = ()


def read(seen: int) -> Rows:
    """Read the tokens that changed since version `seen`, in a database thread.

    Returns all tokens if the changes since then are not known.
    """
    found = read_changes("tokens", UpstreamToken.objects.all(), COLUMNS, seen)
    rows = on_this_clock(found.rows) if found.rows else []
    return Rows(found.version, found.whole, rows, tuple(UUID(row_id) for row_id in found.deleted))


def on_this_clock(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Convert the ends of cooldowns from the database's clock to this process's clock."""
    difference = read_clock_difference()
    at = COLUMNS.index("rests_until")
    if not difference:
        return rows
    return [(*row[:at], row[at] - difference, *row[at + 1 :]) if row[at] else row for row in rows]
