"""The button “Ask again now”: close the circuit breaker of a provider in every process."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from providers.admin.big_tables import record_in_history
from providers.admin.page_sections import find_permitted
from providers.models import Provider
from tokens.outcomes.breaker_sharing import close_breaker

RETURN_FIELD = "next"  # the page to return to, of this site


@require_POST
def ask_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Close the provider's breaker; one that is closed already stays so."""
    provider = find_permitted(request, Provider, pk, "providers.change_provider")
    if close_breaker(pk):
        record_in_history(
            request, Provider.objects.filter(pk=pk), "Circuit breaker closed: asked again."
        )
        text = _("%(provider)s is asked again, by every process within a second.")
        messages.success(request, text % {"provider": provider})
    else:
        text = _("%(provider)s is asked as usual: its circuit breaker is closed.")
        messages.info(request, text % {"provider": provider})
    return HttpResponseRedirect(find_return_address(request, pk))


def find_return_address(request: HttpRequest, pk: int) -> str:
    """Return the page that the form names if it is one of this site, else the provider's page."""
    wanted = request.POST.get(RETURN_FIELD, "")
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure()):
        return wanted
    return reverse("admin:providers_provider_change", args=[pk])
