"""Links to the pages of prices."""

from collections.abc import Iterable
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from api.models import Price
from api.pricing.price_texts import render_usd
from providers.admin.big_tables import NO_VALUE

HISTORY_HEAD = (_("from"), _("prompt"), _("completion"), _("source"))


def render_price_link(price: Price) -> SafeString:
    """Return a link to a price's page."""
    address = reverse("admin:api_price_change", args=[price.pk])
    return format_html('<a href="{}">{}</a>', address, price)


def build_add_address(**values: object) -> str:
    """Return the address of the form for a new price, filled with these values."""
    return f"{reverse('admin:api_price_add')}?{urlencode(values)}"


def render_history(price: Price) -> SafeString | str:
    """Return a table of all prices of a row's model, the latest first."""
    prices = Price.objects.filter(
        provider_id=price.provider_id, upstream_model=price.upstream_model
    ).order_by("-valid_from")
    rows = format_html_join("", "{}", ((render_history_row(one, price),) for one in prices))
    if not rows:
        return NO_VALUE
    head = format_html_join("", "<th>{}</th>", ((name,) for name in HISTORY_HEAD))
    return format_html('<table class="attempts"><tr>{}</tr>{}</table>', head, rows)


def render_history_row(price: Price, shown: Price) -> SafeString:
    """Return the line of one price; the one whose page is shown has no link."""
    moment = timezone.localtime(price.valid_from)
    begin: object = f"{moment:%Y-%m-%d %H:%M}"
    if price.pk != shown.pk:
        address = reverse("admin:api_price_change", args=[price.pk])
        begin = format_html('<a href="{}">{}</a>', address, begin)
    cells: Iterable[object] = (
        begin,
        render_usd(price.prompt_usd),
        render_usd(price.completion_usd),
        price.source or NO_VALUE,
    )
    return format_html("<tr>{}</tr>", format_html_join("", "<td>{}</td>", ((c,) for c in cells)))
