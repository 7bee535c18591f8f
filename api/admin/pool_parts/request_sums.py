"""The requests of a provider or a token in the last 24 hours, from the roll-ups."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.models import Status, UsageHour
from api.pricing.price_texts import render_micro_usd
from providers.models import Provider
from tokens.models import UpstreamToken

VIEW_RECORDS = "api.view_usagerecord"
SPAN = timedelta(hours=24)
GOOD_STATUSES = (Status.COMPLETE, Status.ABANDONED)


def render_provider_requests(request: HttpRequest, provider: Provider) -> SafeString:
    return render_sums({"provider_id": provider.pk}, {"provider__id__exact": provider.pk})


def render_token_requests(request: HttpRequest, token: UpstreamToken) -> SafeString:
    return render_sums({"token_id": token.pk}, {"token__id__exact": token.pk})


def render_sums(subject: dict[str, Any], query: dict[str, Any]) -> SafeString:
    """Return the sums of a subject's requests, and a link to the list of them."""
    begin = (timezone.now() - SPAN).replace(minute=0, second=0, microsecond=0)
    rows = UsageHour.objects.filter(slot__gte=begin, **subject)
    sums = rows.aggregate(
        all_requests=Sum("requests", default=0),
        good=Sum("requests", filter=Q(status__in=GOOD_STATUSES), default=0),
        prompt=Sum("prompt_tokens", default=0),
        completion=Sum("completion_tokens", default=0),
        cost=Sum("cost_micro_usd", default=0),
        unknown=Sum("unknown_cost_requests", default=0),
    )
    cost = render_micro_usd(sums["cost"])
    if sums["unknown"]:
        unknown = _("unknown for %(count)s requests") % {"count": f"{sums['unknown']:,}"}
        cost += f" ({unknown})"
    cells = (
        (_("Requests"), f"{sums['all_requests']:,}"),
        (_("Not answered"), f"{sums['all_requests'] - sums['good']:,}"),
        (_("Prompt tokens"), f"{sums['prompt']:,}"),
        (_("Completion tokens"), f"{sums['completion']:,}"),
        (_("Cost"), cost),
    )
    body = format_html_join("", '<tr><th scope="row">{}</th><td class="number">{}</td></tr>', cells)
    address = f"{reverse('admin:api_usagerecord_changelist')}?{urlencode(query)}"
    return format_html(
        '<div class="table-wrap"><table class="table">{}</table></div><p><a href="{}">{}</a></p>',
        body,
        address,
        _("Show these requests"),
    )
