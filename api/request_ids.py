"""Ids of requests, which are in the order of time."""

from datetime import datetime
from uuid import UUID


def first_id_at(moment: datetime) -> UUID:
    """Return the smallest id of a request at that time.

    The first 48 bits of an id are milliseconds (RFC 9562, version 7).
    """
    return UUID(int=int(moment.timestamp() * 1000) << 80)
