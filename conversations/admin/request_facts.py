"""Facts of requests that only the layer above knows: their cost, and the pages of their records.

The app `api` registers a reader when it starts; without one there are no such facts.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from django.contrib.auth.models import User


class RequestFacts(NamedTuple):
    """The cost of a request in millionths of a USD (None: unknown), and its record's page."""

    cost_micro_usd: int | None
    address: str


FactsReader = Callable[[Collection[UUID], User], Mapping[UUID, RequestFacts]]
_readers: list[FactsReader] = []


def register_facts_reader(reader: FactsReader) -> None:
    """Set the function that reads the facts of requests that a user may see."""
    _readers[:] = [reader]


def read_request_facts(request_ids: Collection[UUID], user: User) -> Mapping[UUID, RequestFacts]:
    """Return the facts of these requests, as far as there are records that the user may see."""
    return _readers[0](request_ids, user) if _readers else {}


def render_cost(micro_usd: int) -> str:
    """Return a cost in USD, with as many digits as it needs: `$0.0015`, `$12.30`."""
    whole, rest = divmod(micro_usd, 10**6)
    digits = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"${whole}.{digits}"
