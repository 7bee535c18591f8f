"""Changes of tokens on their way from the pool in memory to the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a token's state that must reach the database, with its time, reason and cause."""

    effect: str
    token_id: UUID
    until: datetime | None = None
    reason: str = ""
    cause: str = ""


class UseCount(NamedTuple):
    """The number of calls with a token since the last write, and how many of them failed."""

    token_id: UUID
    requests: int
    failures: int
