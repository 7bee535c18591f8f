"""The admin of usage records, which are read-only: the list, one request, and the export."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from api.admin.requests.filter_form import read_filters
from api.admin.requests.list_page import build_list_context
from api.admin.requests.record_page import build_record_context
from api.admin.requests.references import REFERENCES, suggest_names
from api.models import UsageRecord
from api.request_search.record_export import stream_export
from api.request_search.request_lookup import find_conversation, has_record, parse_request_id
from providers.admin.big_tables import SEARCH_LENGTH
from providers.models import ChatModel

MODEL_FIELD = "model"
MOST_MODELS = 20  # suggestions


@admin.register(UsageRecord)
class UsageRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("export/", wrap(self.export_view), name="api_usagerecord_export"),
            path("suggest/", wrap(self.suggest_view), name="api_usagerecord_suggest"),
        ]
        return own + super().get_urls()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord], search_term: str
    ) -> tuple[QuerySet[UsageRecord], bool]:
        """Return the request whose id is in the term, for the quick search of the desk."""
        request_id = parse_request_id(search_term)
        found = queryset.filter(pk=request_id) if request_id is not None else queryset.none()
        return found, False

    def require_view_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, or go to the request whose id was searched for."""
        self.require_view_permission(request)
        term = request.GET.get("q", "").strip()[:SEARCH_LENGTH]
        request_id = parse_request_id(term) if term else None
        if request_id is not None and has_record(request_id):
            return HttpResponseRedirect(reverse("admin:api_usagerecord_change", args=[request_id]))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Requests"),
            "opts": self.opts,
            **build_list_context(request),
            "lookup": term,
            **(self.describe_miss(request, term) if term else {}),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/requests/list.html", context)

    @staticmethod
    def describe_miss(request: HttpRequest, term: str) -> dict[str, str]:
        """Return the id that no request has, and the conversation that has it if there is one."""
        conversation = None
        if request.user.has_perm("conversations.view_conversation"):
            conversation = find_conversation(term)
        address = conversation and reverse(
            "admin:conversations_conversation_change", args=[conversation]
        )
        return {"lookup_miss": term, "lookup_conversation": address or ""}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one request."""
        self.require_view_permission(request)
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        record = self.find_record(object_id)
        if record is None:
            messages.warning(
                request, _("There is no request with the id %(id)s.") % {"id": object_id}
            )
            return HttpResponseRedirect(reverse("admin:api_usagerecord_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": str(record),
            "opts": self.opts,
            **build_record_context(request, record),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/requests/record.html", context)

    @staticmethod
    def find_record(object_id: str) -> UsageRecord | None:
        try:
            pk = UUID(object_id)
        except ValueError:
            return None
        return UsageRecord.objects.select_related("price").filter(pk=pk).first()

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send all requests that match the filters as CSV."""
        self.require_view_permission(request)
        asked = read_filters(request.GET, timezone.now())
        if asked.errors:
            return HttpResponseBadRequest(
                "\n".join(asked.errors.values()), content_type="text/plain; charset=utf-8"
            )
        headers = {
            "content-disposition": 'attachment; filename="requests.csv"',
            "cache-control": "no-store",
        }
        return StreamingHttpResponse(
            stream_export(asked.filters, settings.REQUEST_EXPORT_ROWS),
            content_type="text/csv; charset=utf-8",
            headers=headers,
        )

    def suggest_view(self, request: HttpRequest) -> HttpResponse:
        """Answer the names of rows that begin with a text, for the filters."""
        self.require_view_permission(request)
        field = request.GET.get("field", "")
        beginning = request.GET.get("q", "").strip()[:SEARCH_LENGTH]
        if not beginning or (field not in REFERENCES and field != MODEL_FIELD):
            return JsonResponse({"names": []})
        names = (
            suggest_models(beginning) if field == MODEL_FIELD else suggest_names(field, beginning)
        )
        return JsonResponse({"names": names})


def suggest_models(beginning: str) -> list[str]:
    """Return public names of models that begin with a text."""
    rows = ChatModel.objects.filter(public_id__startswith=beginning).order_by("public_id")
    return list(rows.values_list("public_id", flat=True).distinct()[:MOST_MODELS])
