"""The pages below the list of tokens that import and export tokens."""

from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.template.loader import select_template
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from providers.admin.filtered_rows import find_filtered_rows
from providers.admin.reauthentication import is_recently_authenticated, redirect_to_confirmation
from tokens.admin.transfers.export_download import answer_export
from tokens.admin.transfers.import_forms import ExportForm, ImportForm, find_default_provider
from tokens.admin.transfers.import_steps import begin_work
from tokens.exports.export_log import record_export
from tokens.imports.import_batches import create_batch
from tokens.querysets import TokenQuerySet

EXPORT_PERMISSION = "tokens.export_upstreamtoken"
MOST_TICKED = 200  # more than a page of the list has
LIST_TEMPLATES = ("admin/tokens/upstreamtoken/change_list.html", "admin/change_list.html")


class TokenTransfers:
    """A mixin for the admin of tokens: import, export, and the buttons for both."""

    admin_site: admin.AdminSite
    opts: Any
    change_list_template: Any = "admin/tokens/token_transfers/change_list.html"

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("import/", wrap(self.show_import), name="tokens_upstreamtoken_import"),
            path("export/", wrap(self.show_export), name="tokens_upstreamtoken_export"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """Show the list with buttons to import tokens and to export the listed ones."""
        context: dict[str, object] = {
            "list_template": select_template(LIST_TEMPLATES).template,
            "may_import": self.has_add_permission(request),  # type: ignore[attr-defined]
            "may_export": may_export(request),
            "list_query": request.GET.urlencode(),
        }
        context |= extra_context or {}
        answer: HttpResponse = super().changelist_view(request, context)  # type: ignore[misc]
        return answer

    # --- import -----------------------------------------------------------------------------------
    @method_decorator(never_cache)
    @method_decorator(sensitive_post_parameters())
    def show_import(self, request: HttpRequest) -> HttpResponse:
        """Take a file or a pasted text; it is checked, and nothing is imported yet."""
        if not self.has_add_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        form = ImportForm(
            initial={"provider": find_default_provider(request.GET.get("provider", ""))}
        )
        if request.method == "POST":
            form = ImportForm(request.POST, request.FILES)
            if form.is_valid():
                return self.accept_upload(request, form)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import tokens"),
            "opts": self.opts,
            "form": form,
            "limit": min(settings.IMPORT_BYTES, settings.BODY_LIMIT_BYTES) // 2**20,
        }
        return TemplateResponse(request, "admin/tokens/token_transfers/import.html", context)

    def accept_upload(self, request: HttpRequest, form: ImportForm) -> HttpResponse:
        """Store the upload as a batch, and begin to check it."""
        batch = create_batch(
            form.cleaned_data["provider"],
            form.lines,
            source=form.source or _("pasted text"),
            by=request.user.get_username(),
        )
        begin_work(request, batch)
        return HttpResponseRedirect(reverse("admin:tokens_importbatch_change", args=[batch.pk]))

    # --- export -----------------------------------------------------------------------------------
    def has_export_permission(self, request: HttpRequest) -> bool:
        return may_export(request)

    @admin.action(
        description=gettext_lazy("Export selected tokens with their secrets"),
        permissions=["export"],
    )
    def export_tokens(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Lead to the page of the export: of the ticked tokens, or of all that match."""
        if not may_export(request):
            raise PermissionDenied
        query = request.GET.urlencode()
        if request.POST.get("select_across") != "1":
            ids = [str(pk) for pk in queryset.values_list("pk", flat=True)[: MOST_TICKED + 1]]
            if len(ids) > MOST_TICKED:
                messages.error(request, _("Too many are ticked: filter the list instead."))
                return None
            query = urlencode({"ids": ",".join(ids)})
        return HttpResponseRedirect(f"{reverse('admin:tokens_upstreamtoken_export')}?{query}")

    @method_decorator(never_cache)
    @method_decorator(sensitive_post_parameters())
    def show_export(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for the form of an export, and answer with the file; after the password only."""
        if not may_export(request):
            raise PermissionDenied
        if not is_recently_authenticated(request):
            return redirect_to_confirmation(request)
        tokens = self.select_tokens(request)
        form = ExportForm()
        if request.method == "POST":
            form = ExportForm(request.POST)
            if form.is_valid():
                return self.send_export(request, tokens, form)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Export tokens"),
            "opts": self.opts,
            "form": form,
            "choice": describe_choice(request),
            "count": tokens.count(),
        }
        return TemplateResponse(request, "admin/tokens/token_transfers/export.html", context)

    def select_tokens(self, request: HttpRequest) -> TokenQuerySet:
        """Return the tokens that the address names: by their ids, or as the list filters them."""
        ids = request.GET.get("ids", "")
        if ids:
            chosen = [text for text in ids.split(",") if is_uuid(text)][:MOST_TICKED]
            tokens: TokenQuerySet = self.get_queryset(request)  # type: ignore[attr-defined]
            return tokens.filter(pk__in=chosen)
        return cast(TokenQuerySet, find_filtered_rows(self, request))

    def send_export(
        self, request: HttpRequest, tokens: TokenQuerySet, form: ExportForm
    ) -> HttpResponseBase:
        """Note the export in the history, and send the file."""
        name = form.cleaned_data["form"]
        record_export(cast(User, request.user).pk, tokens, name, describe_choice(request))
        return answer_export(tokens, name, form.cleaned_data["passphrase"])


def may_export(request: HttpRequest) -> bool:
    """Return whether this member of staff may see the secrets of tokens."""
    return request.user.has_perm(EXPORT_PERMISSION)


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def describe_choice(request: HttpRequest) -> str:
    """Return which tokens are exported: the ticked ones, those of the filter, or all."""
    query = QueryDict(request.META.get("QUERY_STRING", ""))
    if query.get("ids"):
        return _("the chosen tokens")
    parts = [f"{name}={value}" for name, value in query.items() if value and name not in ("p", "o")]
    return ", ".join(parts) or _("all tokens")
