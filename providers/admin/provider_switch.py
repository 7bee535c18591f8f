"""Pause and enable a provider with one button of its page."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from providers.admin.big_tables import record_in_history
from providers.admin.page_sections import find_permitted
from providers.models import Provider


@require_POST
def switch_provider(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch a provider off, or on again; a form that is sent twice does nothing more."""
    provider = find_permitted(request, Provider, pk, "providers.change_provider")
    wants_enabled = request.POST.get("enabled") == "1"
    rows = Provider.objects.filter(pk=pk, enabled=not wants_enabled)
    record_in_history(request, rows, "Enabled." if wants_enabled else "Paused.")
    if rows.update(enabled=wants_enabled):
        text = _("%(provider)s is paused: none of its models answers.")
        if wants_enabled:
            text = _("%(provider)s is enabled: it is called within a second.")
        messages.success(request, text % {"provider": provider})
    return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[pk]))
