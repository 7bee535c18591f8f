"""The pages of the audit log: a list with filters, one entry, and a CSV of the filtered list."""

import json
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    render_badge,
)
from providers.admin.filtered_rows import find_filtered_rows, is_usable_day
from proxysite.audit.audit_csv import CSV_COLUMNS, write_csv_line
from proxysite.audit.audit_entry import AUDITED_MODELS, AuditAction, AuditEntry

ACTION_COLOURS = {"added": "good", "deleted": "bad", "changed": "wait", "done": "wait"}
MOST_SHOWN_CHANGES = 3  # of an entry in the list
CSV_CHUNK_ROWS = 500


class TextFilter(admin.SimpleListFilter):
    """A filter by a text that is typed into the address bar or follows from a link."""

    template = "admin/proxysite/auditentry/text_filter.html"
    input_type = "text"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("", "")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        others = {
            name: value for name, value in changelist.params.items() if name != self.parameter_name
        }
        yield {
            "value": self.value() or "",
            "others": [
                (name, item)
                for name, value in others.items()
                for item in (value if isinstance(value, list) else [value])
            ],
        }


class ActorFilter(TextFilter):
    title = gettext_lazy("who")
    parameter_name = "who"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = (self.value() or "").strip()
        return queryset.filter(actor_name=name) if name else queryset


class DayFilter(TextFilter):
    """The entries from a day on, or up to its end, in the viewer's time zone."""

    input_type = "date"
    lookup = ""
    days_later = 0

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            day = parse_date(self.value() or "")
        except (ValueError, OverflowError):
            day = None
        if day is None or not is_usable_day(day):
            return queryset
        begin = datetime.combine(
            day + timedelta(days=self.days_later), time(), timezone.get_current_timezone()
        )
        return queryset.filter(**{self.lookup: begin})


class FromFilter(DayFilter):
    title = gettext_lazy("from the day")
    parameter_name = "from"
    lookup = "at__gte"


class UntilFilter(DayFilter):
    title = gettext_lazy("up to the day")
    parameter_name = "until"
    lookup = "at__lt"
    days_later = 1


class KindFilter(admin.SimpleListFilter):
    title = gettext_lazy("kind of object")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        kinds = [(label, name_kind(label)) for label in AUDITED_MODELS if name_kind(label)]
        return sorted(kinds, key=lambda pair: pair[1].lower())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(model=self.value()) if self.value() else queryset


class ActionFilter(admin.SimpleListFilter):
    title = gettext_lazy("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in AuditAction.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


def name_kind(label: str) -> str:
    """Return the name of a kind of row, or "" where there is no such kind."""
    try:
        return str(apps.get_model(label)._meta.verbose_name) if label else ""
    except (LookupError, ValueError):
        return ""


def find_object_address(entry: AuditEntry) -> str:
    """Return the address of the page of an entry's object, or "" where it has none."""
    if not entry.object_id or entry.action == AuditAction.DELETED:
        return ""
    app, _dot, name = entry.model.partition(".")
    try:
        return reverse(f"admin:{app}_{name}_change", args=[entry.object_id])
    except NoReverseMatch:
        return ""


@admin.register(AuditEntry)
class AuditEntryAdmin(BigTableAdmin):
    """The log can be read and exported; nobody changes it."""

    list_display = ("time", "actor_name", "address", "action_badge", "kind", "object_link", "brief")
    list_display_links = ("time",)
    list_filter = (ActorFilter, FromFilter, UntilFilter, KindFilter, ActionFilter)
    sortable_by = ()
    search_fields = ("object_name",)
    search_help_text = gettext_lazy(
        "The whole name of a person, or the beginning of the name or the id of an object."
    )
    actions = None
    change_list_template = "admin/proxysite/auditentry/change_list.html"
    fields = (
        "time",
        "actor_name",
        "address",
        "action_badge",
        "kind",
        "object_link",
        "message",
        "changes_table",
    )
    time = make_time_column("at", gettext_lazy("time"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(
            Q(actor_name=term) | Q(object_name__startswith=term) | Q(object_id=term)
        )

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.export_csv)
        return [path("csv/", view, name="proxysite_auditentry_csv"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"csv_query": request.GET.urlencode(), "title": _("Audit log")}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def export_csv(self, request: HttpRequest) -> StreamingHttpResponse:
        """Return the filtered entries as CSV, line by line."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = find_filtered_rows(self, request)
        answer = StreamingHttpResponse(render_csv(rows), content_type="text/csv; charset=utf-8")
        name = f"audit-{timezone.localtime():%Y-%m-%d}.csv"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @admin.display(description=gettext_lazy("action"))
    def action_badge(self, entry: AuditEntry) -> SafeString:
        colour = ACTION_COLOURS.get(entry.action, "off")
        return render_badge(colour, AuditAction(entry.action).label)

    @admin.display(description=gettext_lazy("kind"))
    def kind(self, entry: AuditEntry) -> str:
        return name_kind(entry.model) or entry.model or NO_VALUE

    @admin.display(description=gettext_lazy("object"))
    def object_link(self, entry: AuditEntry) -> SafeString | str:
        address = find_object_address(entry)
        if not address:
            return entry.object_name or NO_VALUE
        return format_html('<a href="{}">{}</a>', address, entry.object_name or entry.object_id)

    @admin.display(description=gettext_lazy("what"))
    def brief(self, entry: AuditEntry) -> str:
        """Return the message, or the first changes, in a line."""
        changes = [
            f"{name}: {render_text(old)} → {render_text(new)}"
            for name, (old, new) in list(entry.changes.items())[:MOST_SHOWN_CHANGES]
        ]
        more = len(entry.changes) - MOST_SHOWN_CHANGES
        if more > 0:
            changes.append(_("and %(count)d more") % {"count": more})
        return " · ".join(filter(None, (entry.message, *changes))) or NO_VALUE

    @admin.display(description=gettext_lazy("changes"))
    def changes_table(self, entry: AuditEntry) -> SafeString | str:
        if not entry.changes:
            return NO_VALUE
        rows = format_html_join(
            "",
            '<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>',
            (
                (name, render_text(old), render_text(new))
                for name, (old, new) in entry.changes.items()
            ),
        )
        return format_html(
            '<div class="table-wrap" tabindex="0"><table class="table"><thead><tr>'
            '<th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th></tr></thead>'
            "<tbody>{}</tbody></table></div>",
            _("field"),
            _("before"),
            _("after"),
            rows,
        )


def render_text(value: Any) -> str:
    """Return a value of a change as a person reads it."""
    if value is None or value == "":
        return NO_VALUE
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


def render_csv(rows: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """Yield the lines of the CSV file."""
    yield write_csv_line(CSV_COLUMNS)
    for entry in rows.iterator(chunk_size=CSV_CHUNK_ROWS):
        yield write_csv_line(
            (
                entry.at.isoformat(),
                entry.actor_name,
                entry.address,
                entry.action,
                entry.model,
                entry.object_id,
                entry.object_name,
                entry.message,
                json.dumps(entry.changes, ensure_ascii=False) if entry.changes else "",
            )
        )
