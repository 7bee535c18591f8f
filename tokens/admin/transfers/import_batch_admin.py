"""The admin of imports: their files and authors, their verdicts, and the undo."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from providers.admin.big_tables import (
    BigTableAdmin,
    make_time_column,
    record_in_history,
    render_badge,
)
from providers.models import Provider
from tokens.admin.transfers.import_steps import begin_work
from tokens.admin.transfers.import_verdicts import build_batch_context
from tokens.imports.batch_model import BatchState, ImportBatch
from tokens.imports.import_batches import discard_batch, start_import
from tokens.imports.undo_import import list_used_tokens, start_undo, summarize_undo

MOST_LISTED_TOKENS = 50
BADGE_COLOURS = {
    BatchState.CHECKED: "wait",
    BatchState.IMPORTED: "good",
    BatchState.UNDONE: "off",
    BatchState.DISCARDED: "off",
}
MODEL_NAME = "upstreamtoken"


@admin.register(ImportBatch)
class ImportBatchAdmin(BigTableAdmin):
    """Imports are made by the import of tokens; here they are looked at, and undone."""

    list_display = ("name", "provider", "state_badge", "new_tokens", "created_by", "created")
    list_select_related = ("provider",)
    list_filter = ("provider", "state")
    sortable_by = ()
    search_fields = ("source",)
    search_help_text = gettext_lazy("The beginning of the name of the file.")
    actions = None
    created = make_time_column("created_at", gettext_lazy("when"))

    # --- permissions: those of tokens -------------------------------------------------------------
    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return any(may(request, deed) for deed in ("view", "change", "add"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    # --- the list ---------------------------------------------------------------------------------
    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(source__startswith=term)

    @admin.display(description=gettext_lazy("file"))
    def name(self, batch: ImportBatch) -> str:
        return str(batch)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, batch: ImportBatch) -> SafeString:
        return render_state(batch)

    @admin.display(description=gettext_lazy("new tokens"))
    def new_tokens(self, batch: ImportBatch) -> SafeString:
        return format_html('<span class="number">{}</span>', batch.counts.get("new", 0))

    # --- the page of an import --------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        pages = (
            ("change", self.show_batch),
            ("part", self.show_part),
            ("apply", self.apply_batch),
            ("discard", self.discard),
            ("undo", self.undo),
        )
        own = [
            path(f"<uuid:pk>/{page}/", wrap(view), name=f"tokens_importbatch_{page}")
            for page, view in pages
        ]
        return [*own, *super().get_urls()]

    def find_batch(self, request: HttpRequest, pk: object) -> ImportBatch:
        """Return the batch. Raises PermissionDenied, Http404."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(ImportBatch.objects.select_related("provider"), pk=pk)

    @method_decorator(never_cache)
    def show_batch(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Show an import: its progress, its counts, its verdicts, and the next steps."""
        if request.method == "POST" and not may(request, "add"):
            raise PermissionDenied
        return self.render_batch(request, pk, "admin/tokens/importbatch/batch.html")

    @method_decorator(never_cache)
    def show_part(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Return the part of the page that changes while the worker is at it."""
        return self.render_batch(request, pk, "admin/tokens/importbatch/batch_part.html")

    def render_batch(self, request: HttpRequest, pk: object, template: str) -> HttpResponse:
        batch = self.find_batch(request, pk)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import of %(name)s") % {"name": batch},
            "opts": self.opts,
            "batch": batch,
            "state_badge": render_state(batch),
            "may_import": may(request, "add"),
            "may_undo": may(request, "delete"),
            **build_batch_context(request, batch),
        }
        return TemplateResponse(request, template, context)

    @method_decorator(require_POST)
    def apply_batch(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Import the tokens of a checked batch; a second click does nothing."""
        batch = self.find_batch(request, pk)
        if not may(request, "add"):
            raise PermissionDenied
        if start_import(batch):
            note = f"Tokens imported from {batch}: {batch.counts.get('new', 0)} new."
            record_in_history(request, Provider.objects.filter(pk=batch.provider_id), note)
            begin_work(request, batch)
        return self.redirect_to_batch(batch)

    @method_decorator(require_POST)
    def discard(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Discard an uploaded batch before it is imported."""
        batch = self.find_batch(request, pk)
        if not may(request, "add"):
            raise PermissionDenied
        if discard_batch(batch):
            messages.success(request, _("Discarded: nothing was imported."))
        return HttpResponseRedirect(reverse("admin:tokens_upstreamtoken_import"))

    @method_decorator(never_cache)
    def undo(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Ask whether the tokens of an import shall be deleted, and delete them."""
        batch = self.find_batch(request, pk)
        if not may(request, "delete"):
            raise PermissionDenied
        if request.method != "POST":
            return self.ask_before_undo(request, batch)
        deletes_used = "used" in request.POST
        if start_undo(batch, by=request.user.get_username(), deletes_used=deletes_used):
            note = f"Import of {batch} undone{' with used tokens' if deletes_used else ''}."
            record_in_history(request, Provider.objects.filter(pk=batch.provider_id), note)
            begin_work(request, batch)
        return self.redirect_to_batch(batch)

    def ask_before_undo(self, request: HttpRequest, batch: ImportBatch) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Undo the import of %(name)s?") % {"name": batch},
            "opts": self.opts,
            "batch": batch,
            "summary": summarize_undo(batch),
            "used_tokens": list_used_tokens(batch).order_by("-requests")[:MOST_LISTED_TOKENS],
            "most_listed": MOST_LISTED_TOKENS,
        }
        return TemplateResponse(request, "admin/tokens/importbatch/undo.html", context)

    def redirect_to_batch(self, batch: ImportBatch) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:tokens_importbatch_change", args=[batch.pk]))


def may(request: HttpRequest, deed: str) -> bool:
    """Return whether this member of staff may view, add, change or delete tokens."""
    return request.user.has_perm(f"tokens.{deed}_{MODEL_NAME}")


def render_state(batch: ImportBatch) -> SafeString:
    colour = BADGE_COLOURS.get(BatchState(batch.state), "wait")
    return render_badge(colour, batch.get_state_display())
