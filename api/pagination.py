"""Cursor pages in the form of OpenAI's lists: `after` an id, at most `limit`, in an `order`.

Pages are found by key, never by offset. `parse_page_query` reads the query string.
`select_page_rows` finds the rows and one more, by which `render_page` knows whether more follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from providers.exceptions import InvalidRequest
from providers.integers import parse_integer

DEFAULT_LIMIT = 20
LONGEST_PAGE = 100
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The requested part of a list; `after` is the last id already known, or an empty string."""

    after: str
    limit: int
    descending: bool


def parse_page_query(
    query: Mapping[str, Any],
    *,
    limit: int = DEFAULT_LIMIT,
    most_rows: int = LONGEST_PAGE,
    order: str = "desc",
) -> PageQuery:
    """Return the part of a list that a query string asks for.

    `limit` and `order` are the defaults; `most_rows` is the most rows of one page. Raises
    InvalidRequest.
    """
    count = read_integer(query.get("limit", limit), "limit", 1, most_rows)
    way = query.get("order", order)
    if way not in ("asc", "desc"):
        raise InvalidRequest("order is asc or desc.", param="order")
    return PageQuery(str(query.get("after") or ""), count, way == "desc")


def read_integer(value: object, param: str, least: int, most: int) -> int:
    """Return the whole number in a field of a query string or form.

    `value` is the field's value, `param` its name in the error. Raises InvalidRequest.
    """
    number = parse_integer(str(value), least, most)
    if number is None:
        text = f"{param} must be a whole number from {least} to {most}."
        raise InvalidRequest(text, param=param)
    return number


def select_page_rows(
    queryset: QuerySet[Row], page_query: PageQuery, last: Row | None, *fields: str
) -> list[Row]:
    """Return up to `limit` + 1 rows of `queryset` that come after the row `last`.

    They are in the order of `fields`, which together are unique.
    """
    if last is not None:
        queryset = queryset.filter(
            after_row_condition(last, fields, descending=page_query.descending)
        )
    sign = "-" if page_query.descending else ""
    return list(queryset.order_by(*(sign + field for field in fields))[: page_query.limit + 1])


def after_row_condition(last: Model, fields: Sequence[str], *, descending: bool) -> Q:
    """Return the condition for rows after this one, in a form that can use an index on `fields`."""
    field, *others = fields
    way = "lt" if descending else "gt"
    value = getattr(last, field)
    past = Q(**{f"{field}__{way}": value})
    if not others:
        return past
    return Q(**{f"{field}__{way}e": value}) & (
        past | after_row_condition(last, others, descending=descending)
    )


def render_page(
    objects: Sequence[dict[str, Any]], page_query: PageQuery, id_field: str = "id"
) -> dict[str, Any]:
    """Return OpenAI's list object of the first `limit` objects; `id_field` has their ids.

    In an empty page both ids are null. OpenAI's clients accept that, though their types for some
    lists say string.
    """
    shown = list(objects[: page_query.limit])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0][id_field] if shown else None,
        "last_id": shown[-1][id_field] if shown else None,
        "has_more": len(objects) > page_query.limit,
    }
