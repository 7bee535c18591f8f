"""Changes of tokens' states on their way from the pool in memory to the database."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a token's state that must reach the database, with its time, reason and cause."""

    effect: str
    token_id: UUID
    until: datetime | None = None
    reason: str = ""
    cause: str = ""
