"""Read the filters of the list of requests from its address."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.admin.requests.references import (
    REFERENCES,
    UnknownName,
    find_reference,
    load_names_of_kind,
    parse_id,
)
from api.models import Status
from api.request_search.request_filters import RequestFilters
from api.usage.error_origins import Origin
from providers.admin.page_times import format_time

RANGES = {
    "1h": (gettext_lazy("last hour"), timedelta(hours=1)),
    "24h": (gettext_lazy("last 24 hours"), timedelta(hours=24)),
    "7d": (gettext_lazy("last 7 days"), timedelta(days=7)),
    "30d": (gettext_lazy("last 30 days"), timedelta(days=30)),
}
ALL_BUT_COMPLETE = tuple(value for value in Status.values if value != Status.COMPLETE)
FAILED = (Status.ERROR.value, Status.TRUNCATED.value, Status.INTERRUPTED.value)
STATUS_GROUPS = {"troubled": ALL_BUT_COMPLETE, "failed": FAILED}
TEXTS = {"model": 200, "endpoint": 32, "client": 32}  # columns that are compared as they are
YES_OR_NO = {"1": True, "yes": True, "True": True, "0": False, "no": False, "False": False}
# of Django's own lists, and of the pages of this one; they filter nothing
OTHER_PARAMETERS = frozenset(
    ("q", "p", "o", "e", "all", "before", "after", "_changelist_filters", "_popup", "_facets")
)
ID_SUFFIX = "__id__exact"
EXACT_SUFFIX = "__exact"


@dataclass(slots=True)
class AskedFilters:
    """The filters of an address: `values` are the texts of the form's fields, `errors` by field.

    `parameters` are those of the address that are filters.
    """

    filters: RequestFilters = field(default_factory=RequestFilters)
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, list[str]] = field(default_factory=dict)


def read_filters(query: QueryDict, now: datetime) -> AskedFilters:
    """Return the filters of an address, and an error for each that cannot be understood."""
    asked = AskedFilters()
    equal: dict[str, Any] = {}
    for parameter, texts in query.lists():
        chosen = [text.strip() for text in texts if text.strip()]
        if parameter in OTHER_PARAMETERS or not chosen:
            continue
        asked.parameters[parameter] = chosen
        kind = parameter.removesuffix(ID_SUFFIX)
        if kind in REFERENCES:
            read_reference(asked, equal, kind, chosen[-1], by_id=parameter != kind)
            continue
        name = parameter.removesuffix(EXACT_SUFFIX)
        if name in TEXTS:
            equal[name] = asked.values[name] = chosen[-1]
        elif name in READERS:
            READERS[name](asked, equal, chosen)
        else:
            asked.errors[parameter] = _("There is no filter “%(name)s”.") % {"name": parameter}
    read_span(asked, now)
    asked.filters = replace(asked.filters, equal=equal)
    return asked


def read_reference(
    asked: AskedFilters, equal: dict[str, Any], kind: str, text: str, *, by_id: bool
) -> None:
    """Add the filter for a user, key, team, provider or token."""
    asked.values[kind] = text
    try:
        row_id = parse_id(kind, text) if by_id else find_reference(kind, text)
    except UnknownName as error:
        asked.errors[kind] = str(error)
        return
    if row_id is None:
        asked.errors[kind] = _("“%(id)s” is no id.") % {"id": text}
        return
    equal[REFERENCES[kind].column] = row_id
    if by_id:
        ((name, exists),) = load_names_of_kind(kind, {row_id}).values()
        asked.values[kind] = name if exists and kind != "token" else ""
        asked.values[f"{kind}_id"] = str(row_id)
        asked.values[f"{kind}_name"] = name


def read_statuses(asked: AskedFilters, equal: dict[str, Any], chosen: list[str]) -> None:
    statuses: list[str] = []
    for text in chosen:
        statuses += STATUS_GROUPS.get(text, (text,))
    unknown = [status for status in statuses if status not in Status.values]
    if unknown:
        asked.errors["status"] = _("There is no status “%(name)s”.") % {"name": unknown[0]}
        return
    asked.values["status"] = tuple(dict.fromkeys(statuses))
    asked.filters = replace(asked.filters, statuses=asked.values["status"])


def read_origin(asked: AskedFilters, equal: dict[str, Any], chosen: list[str]) -> None:
    if chosen[-1] not in Origin.values:
        asked.errors["origin"] = _("There is no origin “%(name)s”.") % {"name": chosen[-1]}
        return
    asked.values["origin"] = chosen[-1]
    asked.filters = replace(asked.filters, origin=chosen[-1])


def read_error_code(asked: AskedFilters, equal: dict[str, Any], chosen: list[str]) -> None:
    asked.values["error_code"] = chosen[-1]
    asked.filters = replace(asked.filters, error_codes=(chosen[-1],))


def read_stream(asked: AskedFilters, equal: dict[str, Any], chosen: list[str]) -> None:
    if chosen[-1] not in YES_OR_NO:
        asked.errors["stream"] = _("Streamed is yes or no.")
        return
    equal["stream"] = YES_OR_NO[chosen[-1]]
    asked.values["stream"] = "yes" if equal["stream"] else "no"


def read_cost(asked: AskedFilters, equal: dict[str, Any], chosen: list[str]) -> None:
    if chosen[-1] != "unknown":
        asked.errors["cost"] = _("A cost can only be asked for as “unknown”.")
        return
    asked.values["cost"] = "unknown"
    asked.filters = replace(asked.filters, unknown_cost=True)


def read_times(asked: AskedFilters, equal: dict[str, Any], chosen: list[str]) -> None:
    """Do nothing: `read_span` reads all parameters of the time together."""


Reader = Callable[[AskedFilters, dict[str, Any], list[str]], None]
READERS: dict[str, Reader] = {
    "status": read_statuses,
    "origin": read_origin,
    "error_code": read_error_code,
    "stream": read_stream,
    "cost": read_cost,
    "range": read_times,
    "from": read_times,
    "to": read_times,
}


# --- time -----------------------------------------------------------------------------------------
def read_span(asked: AskedFilters, now: datetime) -> None:
    """Add the span of time: a range up to now, or the times `from` and `to`."""
    span_name = asked.parameters.get("range", [""])[-1]
    begin = end = None
    if span_name in RANGES:
        asked.values["range"] = span_name
        begin = now - RANGES[span_name][1]
    elif span_name:
        asked.errors["range"] = _("There is no range “%(name)s”.") % {"name": span_name}
    for name in ("from", "to"):
        text = asked.parameters.get(name, [""])[-1]
        if not text:
            continue
        asked.values[name] = text
        asked.values.pop("range", None)
        try:
            moment = parse_local_time(text, is_end=name == "to")
        except (ValueError, OverflowError):
            asked.errors[name] = _("This is no time: write 2026-01-31 or 2026-01-31T18:05.")
            continue
        # as the browser's field takes it, in the viewer's zone
        asked.values[name] = f"{timezone.localtime(moment):%Y-%m-%dT%H:%M:%S}"
        asked.values[f"{name}_name"] = format_time(moment)
        if name == "from":
            begin = moment
        else:
            end = moment
    if begin is not None and end is not None and begin >= end:
        asked.errors["from"] = _("From is before to.")
    asked.filters = replace(asked.filters, begin=begin, end=end)


def parse_local_time(text: str, *, is_end: bool) -> datetime:
    """Return the time of an ISO text, in the viewer's zone where it names none.

    A date alone is the begin of that day, as an end that of the next. Raises ValueError.
    """
    # an address has the + of an offset as a space
    moment = datetime.fromisoformat(text.replace(" ", "+" if "T" in text else "T"))
    if len(text) == 10 and is_end:
        moment += timedelta(days=1)
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    if not 1970 < moment.year < 9999:
        raise ValueError(text)
    return moment
