"""Cursor pages in the form of OpenAI's lists: `after` an id, at most `limit`, in an `order`.

Pages are found by key, never by offset. `parse_page_query` reads the query string.
`find_page_rows` finds the rows and one more, by which `render_page` knows whether more follow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from providers.exceptions import InvalidRequest
from providers.integers import parse_integer
from providers.protocol.json_types import JsonObject

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
    query: Mapping[str, object],
    *,
    limit: int = DEFAULT_LIMIT,
    most_rows: int = LONGEST_PAGE,
    order: str = "desc",
) -> PageQuery:
    """Return the part of a list that a query string asks for.

    `limit` and `order` are the defaults; a page has at most `most_rows` rows, and none when that is
    what the caller wants, as OpenAI's own clients are tested. Raises InvalidRequest.
    """
    row_count = read_integer(query.get("limit", limit), "limit", 0, most_rows)
    direction = query.get("order", order)
    if direction not in ("asc", "desc"):
        raise InvalidRequest("order is asc or desc.", param="order")
    return PageQuery(str(query.get("after") or ""), row_count, direction == "desc")


def read_integer(value: object, param: str, least: int, most: int) -> int:
    """Return the whole number in a field of a query string or form.

    `value` is the field's value, `param` its name in the error. Raises InvalidRequest.
    """
    number = parse_integer(str(value), least, most)
    if number is None:
        text = f"{param} must be a whole number from {least} to {most}."
        raise InvalidRequest(text, param=param)
    return number


def find_page_rows(
    queryset: QuerySet[Row], page_query: PageQuery, find_row: Callable[[str], Row], *fields: str
) -> list[Row]:
    """Return the page's rows of `queryset` and one more, in the order of `fields`.

    `find_row` finds the row with the id `after`, behind which the page begins, and raises an error
    when there is none. The `fields` together are unique.
    """
    if page_query.after:
        last = find_row(page_query.after)
        queryset = queryset.filter(
            after_row_condition(last, fields, descending=page_query.descending)
        )
    sign = "-" if page_query.descending else ""
    return list(queryset.order_by(*(sign + field for field in fields))[: page_query.limit + 1])


def after_row_condition(last: Model, fields: Sequence[str], *, descending: bool) -> Q:
    """Return the condition for rows after this one, in a form that can use an index on `fields`."""
    field, *others = fields
    lookup = "lt" if descending else "gt"
    value = getattr(last, field)
    is_past = Q(**{f"{field}__{lookup}": value})
    if not others:
        return is_past
    is_past_in_others = after_row_condition(last, others, descending=descending)
    return Q(**{f"{field}__{lookup}e": value}) & (is_past | is_past_in_others)


def render_page(
    objects: Sequence[JsonObject], page_query: PageQuery, id_field: str = "id"
) -> JsonObject:
    """Return OpenAI's list object of the first `limit` objects; `id_field` has their ids.

    In an empty page both ids are null. OpenAI's clients accept that, though their types for some
    lists say string.
    """
    page_objects = list(objects[: page_query.limit])
    ids = [page_object[id_field] for page_object in page_objects] or [None]
    return {
        "object": "list",
        "data": page_objects,
        "first_id": ids[0],
        "last_id": ids[-1],
        "has_more": len(objects) > page_query.limit,
    }
