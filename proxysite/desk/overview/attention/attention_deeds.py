"""The buttons of the attention list that act: check or reset tokens, send alerts again.

Each is a form that is sent by POST, and leads back to the overview with a message.
"""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from api.alerts import event_records
from api.models import AlertDelivery, DeliveryState
from providers.admin.big_tables import record_in_history
from providers.integers import parse_integer
from providers.models import Provider
from proxysite.desk.overview.attention.token_attention import TOKEN_GROUPS
from proxysite.desk.page_access import has_admin_permission
from tokens.maintenance import check_now
from tokens.models import UpstreamToken
from tokens.querysets import TokenQuerySet

LAST_ID = 2**63 - 1


def redirect_to_overview(request: HttpRequest, level: int, text: str) -> HttpResponse:
    messages.add_message(request, level, text)
    return HttpResponseRedirect(reverse("admin:index"))


@admin.site.admin_view
@require_POST
def change_tokens(request: HttpRequest) -> HttpResponse:
    """Check or reset the tokens of one group of a provider."""
    if not has_admin_permission(request, UpstreamToken, "change"):
        raise PermissionDenied
    pk = parse_integer(request.POST.get("provider", ""), 1, LAST_ID)
    provider = get_object_or_404(Provider, pk=pk)
    group = TOKEN_GROUPS.get(request.POST.get("group", ""))
    if group is None:
        return redirect_to_overview(request, messages.ERROR, _("There is no such group of tokens."))
    tokens = UpstreamToken.objects.filter(group, provider=provider)
    if request.POST.get("deed") == "reset":
        return reset_tokens(request, tokens)
    return check_tokens(request, tokens)


def reset_tokens(request: HttpRequest, tokens: TokenQuerySet) -> HttpResponse:
    """Make tokens active again, and note it in their history."""
    record_in_history(request, tokens, "Reset.", get_name=lambda token: token.masked)
    count = tokens.reset_state()
    text = ngettext(
        "%(count)s token is active again.", "%(count)s tokens are active again.", count
    ) % {"count": count}
    return redirect_to_overview(request, messages.SUCCESS if count else messages.WARNING, text)


def check_tokens(request: HttpRequest, tokens: TokenQuerySet) -> HttpResponse:
    """Check tokens at their upstream now, or by the worker when they are many."""
    try:
        summary = check_now.check_or_queue(tokens)
    except check_now.WorkerUnreachable as error:
        return redirect_to_overview(request, messages.ERROR, str(error))
    return redirect_to_overview(request, messages.SUCCESS, str(summary))


@admin.site.admin_view
@require_POST
def send_alerts_again(request: HttpRequest) -> HttpResponse:
    """Let the deliveries of alerts that failed begin again."""
    if not has_admin_permission(request, AlertDelivery, "change"):
        raise PermissionDenied
    failed = AlertDelivery.objects.filter(state=DeliveryState.FAILED)
    record_in_history(request, failed, "Sent again.")
    count = failed.mark_waiting()
    if count:
        event_records.send_delivery_task()
    text = ngettext(
        "%(count)s alert will be sent again.", "%(count)s alerts will be sent again.", count
    ) % {"count": count}
    return redirect_to_overview(request, messages.SUCCESS if count else messages.WARNING, text)
