"""Cursor pages, as OpenAI's lists have them: `after` an id, at most `limit`, in an `order`. By key, never by offset.

`window` reads what is asked for; `rows` finds it, and one row more, by which `page` knows whether more follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from providers.exceptions import InvalidRequest

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that is asked for; `after`: the id of the last one already known, or an empty string."""

    after: str
    limit: int
    descending: bool


def window(asked: Mapping[str, Any], *, limit: int = 20, longest: int = 100, order: str = "desc") -> Window:
    """What a query string asks for, `limit` and `order` where it does not say. Raises InvalidRequest."""
    text, way = str(asked.get("limit", limit)), asked.get("order", order)
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= longest):
        raise InvalidRequest(f"limit is a number from 1 to {longest}.", param="limit")
    if way not in ("asc", "desc"):
        raise InvalidRequest("order is asc or desc.", param="order")
    return Window(str(asked.get("after") or ""), int(text), way == "desc")


def rows(found: QuerySet[Row], asked: Window, last: Row | None, *fields: str) -> list[Row]:
    """Up to `limit` + 1 of `found` that come after the row `last`, in the order of `fields`, together unique."""
    if last is not None:
        found = found.filter(beyond(last, fields, descending=asked.descending))
    sign = "-" if asked.descending else ""
    return list(found.order_by(*(sign + field for field in fields))[: asked.limit + 1])


def beyond(last: Model, fields: Sequence[str], *, descending: bool) -> Q:
    """What comes after this row; so written that an index on `fields` leads to it."""
    field, *others = fields
    way, value = "lt" if descending else "gt", getattr(last, field)
    past = Q(**{f"{field}__{way}": value})
    if not others:
        return past
    return Q(**{f"{field}__{way}e": value}) & (past | beyond(last, others, descending=descending))


def page(objects: Sequence[dict[str, Any]], asked: Window, name: str = "id") -> dict[str, Any]:
    """OpenAI's list object of the first `limit` of these; `name` is the field that holds their ids.

    Of an empty page both ids are null, for there is none to give: OpenAI's clients read that, though their types for
    some lists say string.
    """
    shown = list(objects[: asked.limit])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0][name] if shown else None,
        "last_id": shown[-1][name] if shown else None,
        "has_more": len(objects) > asked.limit,
    }
