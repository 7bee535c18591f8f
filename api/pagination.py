"""Cursor pages in the form of OpenAI's lists: `after` an id, at most `limit`, in an `order`.

Pages are found by key, never by offset. `window` reads the query string. `rows` finds the rows and
one more, by which `page` knows whether more follow.
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
class Window:
    """The requested part of a list; `after` is the last id already known, or an empty string."""

    after: str
    limit: int
    descending: bool


def window(
    asked: Mapping[str, Any],
    *,
    limit: int = DEFAULT_LIMIT,
    longest: int = LONGEST_PAGE,
    order: str = "desc",
) -> Window:
    """Return the part of a list that a query string asks for.

    `limit` and `order` are the defaults; `longest` is the most rows of one page. Raises
    InvalidRequest.
    """
    count = read_integer(asked.get("limit", limit), "limit", 1, longest)
    way = asked.get("order", order)
    if way not in ("asc", "desc"):
        raise InvalidRequest("order is asc or desc.", param="order")
    return Window(str(asked.get("after") or ""), count, way == "desc")


def read_integer(given: object, param: str, least: int, most: int) -> int:
    """Return the whole number in a field of a query string or form.

    `given` is the field's value, `param` its name in the error. Raises InvalidRequest.
    """
    number = parse_integer(str(given), least, most)
    if number is None:
        text = f"{param} must be a whole number from {least} to {most}."
        raise InvalidRequest(text, param=param)
    return number


def rows(found: QuerySet[Row], asked: Window, last: Row | None, *fields: str) -> list[Row]:
    """Return up to `limit` + 1 rows of `found` that come after the row `last`.

    They are in the order of `fields`, which together are unique.
    """
    if last is not None:
        found = found.filter(beyond(last, fields, descending=asked.descending))
    sign = "-" if asked.descending else ""
    return list(found.order_by(*(sign + field for field in fields))[: asked.limit + 1])


def beyond(last: Model, fields: Sequence[str], *, descending: bool) -> Q:
    """Return the condition for rows after this one, in a form that can use an index on `fields`."""
    field, *others = fields
    way = "lt" if descending else "gt"
    value = getattr(last, field)
    past = Q(**{f"{field}__{way}": value})
    if not others:
        return past
    return Q(**{f"{field}__{way}e": value}) & (past | beyond(last, others, descending=descending))


def page(objects: Sequence[dict[str, Any]], asked: Window, name: str = "id") -> dict[str, Any]:
    """Return OpenAI's list object of the first `limit` objects; `name` is the field of their ids.

    In an empty page both ids are null. OpenAI's clients accept that, though their types for some
    lists say string.
    """
    shown = list(objects[: asked.limit])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0][name] if shown else None,
        "last_id": shown[-1][name] if shown else None,
        "has_more": len(objects) > asked.limit,
    }
