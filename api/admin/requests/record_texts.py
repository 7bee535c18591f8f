"""The texts of usage records on pages and in exports."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.admin.requests.references import Names, load_names, render_name
from api.models import Status, UsageRecord
from api.pricing.price_texts import render_micro_usd
from api.usage.error_origins import Origin, find_origin
from providers.admin.big_tables import NO_VALUE, render_badge
from providers.admin.page_times import render_time

STATUS_COLOURS = {
    Status.COMPLETE: "good",
    Status.ABANDONED: "off",
    Status.INTERRUPTED: "wait",
    Status.REFUSED: "off",
}
LIST_KINDS = ("user", "key", "provider")


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """The cells of one record in the list."""

    record: UsageRecord
    address: str
    time: SafeString | str
    user: SafeString | str
    key: SafeString | str
    provider: SafeString | str
    status: SafeString
    detail: str
    tokens: str
    cost: SafeString | str
    seconds: str


def show_records(records: Iterable[UsageRecord]) -> list[ShownRecord]:
    """Return the cells of records; the names of their rows are loaded together."""
    listed = list(records)
    names = load_names(listed, LIST_KINDS)
    return [show_record(record, names) for record in listed]


def show_record(record: UsageRecord, names: Names) -> ShownRecord:
    return ShownRecord(
        record=record,
        address=reverse("admin:api_usagerecord_change", args=[record.pk]),
        time=render_time(record.started_at),
        user=render_name(names, "user", record),
        key=render_name(names, "key", record),
        provider=render_name(names, "provider", record),
        status=render_status(record),
        detail=describe_failure(record),
        tokens=describe_tokens(record),
        cost=describe_cost(record),
        seconds=describe_duration(record),
    )


def render_status(record: UsageRecord) -> SafeString:
    """Return the status as a badge."""
    colour = STATUS_COLOURS.get(Status(record.status), "bad")
    return render_badge(colour, Status(record.status).label)


def describe_failure(record: UsageRecord) -> str:
    """Return why a request was not answered whole; empty when it was."""
    if record.status == Status.REFUSED:
        return _("× %(count)s by %(limit)s") % {
            "count": record.request_count,
            "limit": record.refused_by or _("a limit"),
        }
    if record.error_code in ("", record.status):
        return ""
    return record.error_code


def describe_origin(record: UsageRecord) -> str:
    """Return whose error it was, in words; empty when it was none."""
    origin = find_origin(record.status, record.http_status, record.error_code)
    return str(Origin(origin).label) if origin else ""


def describe_tokens(record: UsageRecord) -> str:
    """Return prompt and completion tokens; ~ means that they are estimated."""
    counts = f"{record.prompt_tokens:,} / {record.completion_tokens:,}"
    return f"~{counts}" if record.estimated else counts


def describe_cost(record: UsageRecord) -> SafeString | str:
    """Return the cost in words, and for an unknown one that it is unknown."""
    if record.status == Status.REFUSED:
        return NO_VALUE
    if record.cost_micro_usd is None:
        return format_html('<span class="quiet">{}</span>', _("unknown"))
    return render_micro_usd(record.cost_micro_usd)


def describe_duration(record: UsageRecord) -> str:
    return "" if record.total_ms is None else f"{record.total_ms / 1000:.2f} s"
