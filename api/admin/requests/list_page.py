"""The list of requests: its filters, the sums of the filtered requests, and pages by ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.admin.requests.filter_form import ID_SUFFIX, RANGES, AskedFilters, read_filters
from api.admin.requests.record_texts import ShownRecord, show_records
from api.admin.requests.references import REFERENCES
from api.models import Status, UsageRecord
from api.pricing.price_texts import render_micro_usd
from api.relay.client_names import CLIENT_NAMES
from api.relay.endpoint_names import list_endpoint_names
from api.request_search.record_search import (
    FoundRecords,
    read_time,
    search_newer_records,
    search_records,
)
from api.request_search.record_sums import RequestSums, sum_requests
from api.usage.error_origins import Origin
from providers.models import Provider

ROWS_OF_A_PAGE = 50
RANGE_TEXTS = {name: text for name, (text, _length) in RANGES.items()}
MOST_PROVIDERS = 200  # in a list to choose from
# the fields that are folded away while they filter nothing
MORE_FIELDS = frozenset(
    ("from", "to", "origin", "error_code", "endpoint", "client", "stream", "team", "token", "cost")
)
FIELD_LABELS = {
    "user": gettext_lazy("User"),
    "key": gettext_lazy("API key"),
    "team": gettext_lazy("Team"),
    "provider": gettext_lazy("Provider"),
    "token": gettext_lazy("Token"),
    "model": gettext_lazy("Model"),
    "endpoint": gettext_lazy("Endpoint"),
    "client": gettext_lazy("Client"),
    "status": gettext_lazy("Status"),
    "origin": gettext_lazy("Error of"),
    "error_code": gettext_lazy("Error code"),
    "stream": gettext_lazy("Streamed"),
    "cost": gettext_lazy("Cost"),
    "range": gettext_lazy("Time"),
    "from": gettext_lazy("From"),
    "to": gettext_lazy("To"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a field; `text` is its label."""

    value: str
    text: str | Promise
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is in force: its text, and the address of the list without it."""

    text: str
    address: str


def build_list_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the list for the filters of its address."""
    now = timezone.now()
    asked = read_filters(request.GET, now)
    found = FoundRecords()
    sums = None
    if not asked.errors:
        found = find_page(asked, request.GET)
        sums = sum_requests(asked.filters, settings.REQUEST_SEARCH_SECONDS, now)
    return {
        "asked": asked,
        "rows": load_rows(found.ids),
        "sums": sums and show_sums(sums),
        "searched_since": found.stopped_at and read_time(found.stopped_at),
        "older": make_older_address(asked, found),
        "newer": make_newer_address(asked, found, request.GET),
        "newest": make_address(asked, {}) if "before" in request.GET else "",
        "chips": list_chips(asked),
        "export": f"{reverse('admin:api_usagerecord_export')}?{encode_parameters(asked)}",
        "export_rows": f"{settings.REQUEST_EXPORT_ROWS:,}",
        "kept_ids": list_kept_ids(asked),
        "has_more_filters": not MORE_FIELDS.isdisjoint(asked.values),
        **list_choices(asked),
    }


def find_page(asked: AskedFilters, query: QueryDict) -> FoundRecords:
    """Return the ids of the page that an address asks for: before or after an id, or the newest."""
    seconds: float = settings.REQUEST_SEARCH_SECONDS
    after = read_cursor(query, "after")
    if after is not None:
        return search_newer_records(asked.filters, ROWS_OF_A_PAGE, seconds, after)
    before = read_cursor(query, "before")
    return search_records(asked.filters, ROWS_OF_A_PAGE, seconds, before)


def read_cursor(query: QueryDict, name: str) -> UUID | None:
    """Return the id at which a page begins or ends; None for the newest page."""
    try:
        return UUID(query.get(name, ""))
    except ValueError:
        return None


def load_rows(ids: list[UUID]) -> list[ShownRecord]:
    """Return the records of a page in the order of the ids, with the texts of their cells."""
    records = UsageRecord.objects.defer("attempts").in_bulk(ids)
    return show_records([records[pk] for pk in ids if pk in records])


# --- addresses ------------------------------------------------------------------------------------
def encode_parameters(asked: AskedFilters, **more: str) -> str:
    return urlencode({**asked.parameters, **more}, doseq=True)


def make_address(asked: AskedFilters, more: dict[str, str]) -> str:
    """Return the address of a page of this list."""
    return f"?{encode_parameters(asked, **more)}"


def make_older_address(asked: AskedFilters, found: FoundRecords) -> str:
    """Return the address of the next page, or of the next part of the search."""
    if found.has_more and found.ids:
        return make_address(asked, {"before": found.ids[-1].hex})
    if found.stopped_at is not None:
        return make_address(asked, {"before": found.stopped_at.hex})
    return ""


def make_newer_address(asked: AskedFilters, found: FoundRecords, query: QueryDict) -> str:
    """Return the address of the page before this one; empty on the newest page."""
    if not ("before" in query or "after" in query) or not found.ids:
        return ""
    return make_address(asked, {"after": found.ids[0].hex})


def list_kept_ids(asked: AskedFilters) -> list[tuple[str, str]]:
    """Return the filters by id that no field of the form shows, as hidden fields of the form.

    A row that is deleted, or a token, has no name that a field could send.
    """
    return [
        (f"{kind}{ID_SUFFIX}", asked.values[f"{kind}_id"])
        for kind in REFERENCES
        if f"{kind}_id" in asked.values and not asked.values[kind]
    ]


def list_chips(asked: AskedFilters) -> list[Chip]:
    """Return the filters in force, each with the address of the list without it."""
    chips = []
    for parameter, texts in asked.parameters.items():
        kind = parameter.partition("__")[0]
        text = asked.values.get(f"{kind}_name") or ", ".join(texts)
        if kind == "range" and text in RANGES:
            text = str(RANGES[text][0])
        label = FIELD_LABELS.get(kind, kind)
        others = {name: value for name, value in asked.parameters.items() if name != parameter}
        chips.append(Chip(f"{label}: {text}", f"?{urlencode(others, doseq=True)}"))
    return chips


# --- sums and choices -----------------------------------------------------------------------------
def show_sums(sums: RequestSums) -> dict[str, Any]:
    """Return the sums as the page shows them; an unknown cost is said, never counted as 0."""
    cost = render_micro_usd(sums.cost_micro_usd)
    if sums.unknown_cost_requests and not sums.cost_micro_usd:
        cost = _("unknown")
    return {
        "begin": sums.begin,
        "end": sums.end,
        "is_partial": sums.is_partial,
        "requests": f"{sums.requests:,}",
        "failed": f"{sums.failed:,}",
        "failed_percent": 100 * sums.failed / sums.requests if sums.requests else 0,
        "refused": f"{sums.refused:,}",
        "abandoned": f"{sums.abandoned:,}",
        "prompt_tokens": f"{sums.prompt_tokens:,}",
        "completion_tokens": f"{sums.completion_tokens:,}",
        "cost": cost,
        "unknown_cost_requests": sums.unknown_cost_requests,
        "shown_unknown": f"{sums.unknown_cost_requests:,}",
    }


def list_choices(asked: AskedFilters) -> dict[str, Any]:
    """Return the choices of the form's fields."""
    values = asked.values
    providers = Provider.objects.order_by("name").values_list("name", flat=True)[:MOST_PROVIDERS]
    return {
        "ranges": make_choices(RANGE_TEXTS, values.get("range", "")),
        "statuses": [
            Choice(value, label, value in values.get("status", ()))
            for value, label in Status.choices
        ],
        "origins": make_choices(dict(Origin.choices), values.get("origin", "")),
        "providers": list(providers),
        "endpoints": make_choices(
            name_themselves(list_endpoint_names()), values.get("endpoint", "")
        ),
        "clients": make_choices(name_themselves(CLIENT_NAMES), values.get("client", "")),
        "streams": make_choices({"yes": _("yes"), "no": _("no")}, values.get("stream", "")),
    }


def name_themselves(names: Iterable[str]) -> dict[str, str]:
    """Return choices whose texts are their values, in the order of the alphabet."""
    return {name: name for name in sorted(names, key=str.lower)}


def make_choices(texts: Mapping[str, str | Promise], chosen: str) -> list[Choice]:
    """Return the choices of a field; a chosen value that is none of them is added."""
    if chosen and chosen not in texts:
        texts = {**texts, chosen: chosen}
    return [Choice(value, text, value == chosen) for value, text in texts.items()]
