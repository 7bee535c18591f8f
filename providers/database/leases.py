"""Leases: a column of a row says until when one process alone may do something.

All times are the database's, so processes on machines whose clocks differ agree on who has a lease.
The holder is named by another column, or by the end time itself, which is read back after the
claim. A process that dies releases nothing: its lease ends by itself.
"""

from datetime import UTC, datetime, timedelta
from typing import cast

from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

CLOCKS_DIFFER_SECONDS = 1.0  # a smaller difference may be the time that the query takes


def time_from_now(seconds: float = 0) -> Combinable:
    """Return an expression for the database's time in `seconds` seconds.

    It is a sum even for 0, because SQLite then writes the time in Django's format.
    """
    return Now() + timedelta(seconds=seconds)


def is_free(field: str) -> Q:
    """Return the condition that nobody has the lease of the column now."""
    return Q(**{f"{field}__isnull": True}) | is_expired(field)


def is_expired(field: str) -> Q:
    """Return the condition that the lease of the column has ended without being released."""
    return Q(**{f"{field}__lte": Now()})


def is_held(field: str) -> Q:
    """Return the condition that somebody has the lease of the column now."""
    return Q(**{f"{field}__gt": Now()})


def read_clock_difference() -> timedelta:
    """Return by how much the database's clock is ahead of this process's clock.

    It is zero when the difference is at most CLOCKS_DIFFER_SECONDS, and always zero for SQLite,
    which uses the clock of the process.
    """
    if connection.vendor != "postgresql":
        return timedelta()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        difference: timedelta = cursor.fetchone()[0] - datetime.now(UTC)
    if abs(difference.total_seconds()) <= CLOCKS_DIFFER_SECONDS:
        return timedelta()
    return difference


class LeaseQuerySet:
    """A mixin for query sets of rows with leases; `field` is the column with the end of a lease."""

    def claim_lease(self, field: str, seconds: float, **values: object) -> int:
        """Take the lease of these rows where nobody has it, and write `values`.

        Returns the number of rows taken.
        """
        free = cast("QuerySet[Model]", self).filter(is_free(field))
        return free.update(**{field: time_from_now(seconds)}, **values)

    def renew_lease(self, field: str, seconds: float, **values: object) -> int:
        """Set the end of these rows' lease to `seconds` from now, and write `values`.

        Returns the number of rows. The caller filters by the holder of the lease.
        """
        return cast("QuerySet[Model]", self).update(**{field: time_from_now(seconds)}, **values)

    def release_lease(self, field: str, **values: object) -> int:
        """End the lease of these rows, and write `values`.

        Returns the number of rows. The caller filters by the holder of the lease.
        """
        return cast("QuerySet[Model]", self).update(**{field: None}, **values)
