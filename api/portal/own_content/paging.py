"""Pages of a user's own rows, the newest first; a page begins after the last row of the one before.

No row is skipped or shown twice when rows are added meanwhile.
"""

from typing import Any, NamedTuple

from django.db.models import Q, QuerySet


class OwnPage(NamedTuple):
    """The rows of one page; `next_before` is the id after which the next one begins, or empty."""

    rows: list[Any]
    next_before: str
    is_later_page: bool


def read_own_page(own: QuerySet[Any], before_id: str, time_field: str, size: int) -> OwnPage:
    """Return the rows after the one with the id `before_id`; an unknown id is the first page."""
    before = own.filter(pk=before_id).first() if before_id else None
    rows = own.order_by(f"-{time_field}", "-pk")
    if before is not None:
        moment = getattr(before, time_field)
        is_older = Q(**{f"{time_field}__lt": moment})
        rows = rows.filter(is_older | Q(**{time_field: moment, "pk__lt": before.pk}))
    shown = list(rows[: size + 1])
    next_before = str(shown[size - 1].pk) if len(shown) > size else ""
    return OwnPage(shown[:size], next_before, before is not None)
