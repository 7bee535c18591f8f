"""Read the tokens that changed since the pool last read them."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from providers.database.changed_rows import read_changes
from providers.database.leases import read_clock_difference
from tokens.models import UpstreamToken


class TokenRow(NamedTuple):
    """The columns of a token that the pool reads."""

    id: UUID
    provider_id: int
    sealed: str
    state: str
    strikes: int
    rests_until: datetime | None
    expires_at: datetime | None
    sealed_refresh: str
    account_id: UUID | None
    priority: int
    weight: int
    reason: str
    changed: int


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The result of one read: all tokens (`is_complete`), or the changes since a version."""

    version: int
    is_complete: bool
    rows: list[TokenRow]
    deleted_ids: tuple[UUID, ...] = ()


def read_changed_tokens(known_version: int) -> TokenRows:
    """Read the tokens that changed since version `known_version`, in a database thread.

    Returns all tokens if the changes since then are not known.
    """
    changes = read_changes("tokens", UpstreamToken.objects.all(), TokenRow._fields, known_version)
    rows = [TokenRow._make(row) for row in changes.rows]
    if rows:
        rows = convert_to_own_clock(rows)
    deleted_ids = tuple(UUID(row_id) for row_id in changes.deleted_ids)
    return TokenRows(changes.version, changes.has_all_rows, rows, deleted_ids)


def convert_to_own_clock(rows: list[TokenRow]) -> list[TokenRow]:
    """Convert the ends of cooldowns from the database's clock to this process's clock."""
    difference = read_clock_difference()
    if not difference:
        return rows
    return [
        row._replace(rests_until=row.rests_until - difference) if row.rests_until else row
        for row in rows
    ]
