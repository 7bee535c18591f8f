"""The two forms about providers: the switch of modes, and the import of pasted tokens.

They call the same functions as the staff endpoints.
"""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from api.views.staff import token_pool
from api.views.staff.staff_access import InvalidStaffRequest
from providers.admin.big_tables import record_in_history
from providers.integers import parse_integer
from providers.models import Provider
from proxysite.desk.page_access import has_admin_permission
from tokens.imports import token_import
from tokens.models import UpstreamToken

LAST_ID = 2**63 - 1


def redirect_with_message(request: HttpRequest, level: int, message: str) -> HttpResponse:
    messages.add_message(request, level, message)
    return HttpResponseRedirect(reverse("admin:index"))


def find_chosen_provider(request: HttpRequest, model: type[Model], action: str) -> Provider:
    """Return the provider that the form names.

    Raises PermissionDenied unless the person may do this to rows of `model`; raises Http404.
    """
    if not has_admin_permission(request, model, action):
        raise PermissionDenied
    pk = parse_integer(request.POST.get("provider", ""), 1, LAST_ID)
    return get_object_or_404(Provider, pk=pk)


@admin.site.admin_view
@require_POST
def switch_mode(request: HttpRequest) -> HttpResponse:
    """Switch a provider to guest or user mode, and note it in the admin's log."""
    provider = find_chosen_provider(request, Provider, "change")
    mode = request.POST.get("mode")
    try:
        token_pool.update_provider_mode(provider, mode)
    except InvalidStaffRequest as error:
        return redirect_with_message(request, messages.ERROR, str(error))
    record_in_history(request, Provider.objects.filter(pk=provider.pk), f"Mode {mode}.")
    text = _("The provider %(provider)s is asked in %(mode)s mode within a second.")
    return redirect_with_message(
        request, messages.SUCCESS, text % {"provider": provider, "mode": mode}
    )


@admin.site.admin_view
@require_POST
@sensitive_post_parameters("tokens")
def import_pasted_tokens(request: HttpRequest) -> HttpResponse:
    """Import tokens from the page's text field. The pasted text is never shown again."""
    provider = find_chosen_provider(request, UpstreamToken, "add")
    if not provider.needs_token and "anyway" not in request.POST:
        text = _(
            "The provider %(provider)s asks for no token: nothing was imported. "
            "Choose another provider, or tick the box."
        )
        return redirect_with_message(request, messages.WARNING, text % {"provider": provider})
    report = token_import.import_lines(
        provider, token_import.split_lines(request.POST.get("tokens", ""))
    )
    level = messages.WARNING
    if imported := report.verdict_counts[token_import.NEW]:
        level = messages.SUCCESS
        record_in_history(
            request, Provider.objects.filter(pk=provider.pk), f"Tokens imported: {imported}."
        )
    text = _("Tokens for %(provider)s: %(report)s") % {
        "provider": provider,
        "report": token_pool.describe_import(report),
    }
    return redirect_with_message(request, level, text)
