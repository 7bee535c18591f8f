"""The switch of a provider between its modes; it calls the same function as the staff endpoint."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from api.views.staff import token_pool
from api.views.staff.staff_access import InvalidStaffRequest
from providers.admin.big_tables import record_in_history
from providers.integers import parse_integer
from providers.models import Provider
from proxysite.desk.page_access import has_admin_permission

LAST_ID = 2**63 - 1


def redirect_with_message(request: HttpRequest, level: int, message: str) -> HttpResponse:
    messages.add_message(request, level, message)
    return HttpResponseRedirect(reverse("admin:index"))


@admin.site.admin_view
@require_POST
def switch_mode(request: HttpRequest) -> HttpResponse:
    """Switch a provider to guest or user mode, and note it in the admin's log."""
    if not has_admin_permission(request, Provider, "change"):
        raise PermissionDenied
    pk = parse_integer(request.POST.get("provider", ""), 1, LAST_ID)
    provider = get_object_or_404(Provider, pk=pk)
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
