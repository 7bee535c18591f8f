"""The filters of the list of conversations, which its page offers as fields of one form."""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from conversations.models import Conversation, ConversationKind, Turn
from providers.admin.filtered_rows import is_usable_day

Rows = QuerySet[Conversation]
VALUE_CHARS = 200
PASSED_PARAMETERS = ("user__id__exact",)  # filters of links, which the form keeps


class FormFilter(admin.SimpleListFilter):
    """A filter with a free text or a few choices; the form of the page shows its field."""

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        """Return that the filter is in force, though it lists no choices."""
        return True

    def choices(self, changelist: object) -> Iterable[dict[str, object]]:  # type: ignore[override]
        """Return no links beside the list."""
        return ()

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        text = (self.value() or "").strip()[:VALUE_CHARS]
        return self.filter_rows(queryset, text) if text else queryset

    def filter_rows(self, rows: Rows, text: str) -> Rows:
        """Return the rows that match a text, which is not empty."""
        raise NotImplementedError


class UserFilter(FormFilter):
    title = _("user")
    parameter_name = "user"

    def filter_rows(self, rows: Rows, text: str) -> Rows:
        return rows.filter(user__username__startswith=text)


class ModelFilter(FormFilter):
    title = _("model")
    parameter_name = "model"

    def filter_rows(self, rows: Rows, text: str) -> Rows:
        """Return conversations with a turn of a model whose name begins so."""
        turns = Turn.objects.filter(conversation=OuterRef("pk"), model__startswith=text)
        return rows.filter(Exists(turns))


class SinceFilter(FormFilter):
    title = _("used since")
    parameter_name = "since"

    def filter_rows(self, rows: Rows, text: str) -> Rows:
        day = parse_day(text)
        return rows if day is None else rows.filter(used_at__gte=begin_day(day))


class UntilFilter(FormFilter):
    title = _("used until")
    parameter_name = "until"

    def filter_rows(self, rows: Rows, text: str) -> Rows:
        day = parse_day(text)
        if day is None:
            return rows
        return rows.filter(used_at__lt=begin_day(day + timedelta(days=1)))


class DocumentFilter(FormFilter):
    title = _("documents")
    parameter_name = "documents"

    def filter_rows(self, rows: Rows, text: str) -> Rows:
        links = Conversation.documents.through.objects.filter(conversation=OuterRef("pk"))
        if text == "yes":
            return rows.filter(Exists(links))
        return rows.filter(~Exists(links)) if text == "no" else rows


class KindFilter(FormFilter):
    title = _("kind")
    parameter_name = "kind"

    def filter_rows(self, rows: Rows, text: str) -> Rows:
        return rows.filter(Q(kind=text)) if text in ConversationKind.values else rows


ALL_FILTERS = (UserFilter, ModelFilter, SinceFilter, UntilFilter, DocumentFilter, KindFilter)


def parse_day(text: str) -> date | None:
    """Return the day of an ISO date, or None."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if is_usable_day(day) else None


def begin_day(day: date) -> datetime:
    """Return when a day begins in the viewer's time zone."""
    return timezone.make_aware(datetime.combine(day, time.min))


def read_filter_values(request: HttpRequest) -> dict[str, object]:
    """Return the values of the form's fields, and the parameters that it passes on."""
    values = {
        filter_class.parameter_name: request.GET.get(filter_class.parameter_name, "")
        for filter_class in ALL_FILTERS
    }
    passed = {name: request.GET[name] for name in PASSED_PARAMETERS if name in request.GET}
    return {**values, "passed": passed, "kinds": ConversationKind.choices}
