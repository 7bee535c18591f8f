"""Read the tokens that changed since the pool last read them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from providers.database.changed_rows import read_changes
from providers.database.leases import read_clock_difference
from tokens.models import UpstreamToken

TOKEN_COLUMNS = (
    *("id", "provider_id", "sealed", "state", "strikes", "rests_until", "expires_at"),
    *("sealed_refresh", "account_id", "priority", "weight", "reason", "changed"),
)


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The result of one read: all tokens (`is_complete`), or the changes since a version."""

    version: int
    is_complete: bool
    rows: list[tuple[Any, ...]]
    deleted_ids: tuple[UUID, ...] = ()


def read_changed_tokens(known_version: int) -> TokenRows:
    """Read the tokens that changed since version `known_version`, in a database thread.

    Returns all tokens if the changes since then are not known.
    """
    found = read_changes("tokens", UpstreamToken.objects.all(), TOKEN_COLUMNS, known_version)
    rows = convert_to_own_clock(found.rows) if found.rows else []
    return TokenRows(
        found.version, found.has_all_rows, rows, tuple(UUID(row_id) for row_id in found.deleted_ids)
    )


def convert_to_own_clock(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Convert the ends of cooldowns from the database's clock to this process's clock."""
    difference = read_clock_difference()
    at = TOKEN_COLUMNS.index("rests_until")
    if not difference:
        return rows
    return [(*row[:at], row[at] - difference, *row[at + 1 :]) if row[at] else row for row in rows]
