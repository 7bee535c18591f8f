"""What the pool reads of the database: the tokens that changed since it looked last."""

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
    """What one reading brought: all tokens, or those changed and deleted since the version seen
    before.
    """

    version: int
    whole: bool
    rows: list[tuple[Any, ...]]
    deleted: tuple[UUID, ...] = ()


def read(seen: int) -> Rows:
    """The tokens that changed since version `seen`, all of them when that cannot be told; in a
    database thread.
    """
    found = read_changes("tokens", UpstreamToken.objects.all(), COLUMNS, seen)
    rows = on_this_clock(found.rows) if found.rows else []
    return Rows(found.version, found.whole, rows, tuple(UUID(row_id) for row_id in found.deleted))


def on_this_clock(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with the ends of rests, which are times of the database's clock, as times of this
    process's.
    """
    difference = read_clock_difference()
    at = COLUMNS.index("rests_until")
    if not difference:
        return rows
    return [(*row[:at], row[at] - difference, *row[at + 1 :]) if row[at] else row for row in rows]
