"""The rows that the filters of a list's address find, for exports of the list."""

from datetime import date
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest

FIRST_YEAR, LAST_YEAR = 2, 9998  # in any time zone their days are times that databases know


def find_filtered_rows(model_admin: Any, request: HttpRequest) -> QuerySet[Any]:
    """Return the rows of the list. Raises BadRequest when it has no such filters."""
    try:
        rows: QuerySet[Any] = model_admin.get_changelist_instance(request).queryset
    except IncorrectLookupParameters:
        raise BadRequest("There is no such filter of the list.") from None
    return rows


def is_usable_day(day: date) -> bool:
    """Return whether the beginning and the end of a day are times in every time zone."""
    return FIRST_YEAR <= day.year <= LAST_YEAR
