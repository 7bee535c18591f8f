"""Requests that need attention: those whose cost is unknown for want of a price."""

from collections.abc import Iterator
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from api.admin.price_links import build_add_address
from api.pricing.unknown_prices import UnknownPrice, find_unknown_prices
from api.usage.spans.span_sums import read_span_sums
from proxysite.desk.overview.attention.attention_items import WAIT, AttentionItem, Button
from proxysite.desk.overview.ranges import ceil_to_slot

SPAN = timedelta(days=1)
LOOKED_AT = 2_000  # latest requests that may name the models without a price
MOST_MODELS = 3  # that have a line of their own


def find_request_items(*, may_price: bool) -> Iterator[AttentionItem]:
    """Yield an item for each of the models that need a price most."""
    end = ceil_to_slot(timezone.now())
    [sums] = read_span_sums([(end - SPAN, end)])
    if not sums.unknown_cost_requests:
        return
    unknown = find_unknown_prices(LOOKED_AT, SPAN)
    for entry in unknown[:MOST_MODELS]:
        yield make_price_item(entry, may_price=may_price)
    if len(unknown) > MOST_MODELS:
        count = len(unknown) - MOST_MODELS
        text = ngettext(
            "%(count)s more model has no price.", "%(count)s more models have no price.", count
        ) % {"count": count}
        button = Button(_("Look at them"), reverse("admin:api_price_changelist"))
        yield AttentionItem("price", WAIT, text, buttons=(button,))


def make_price_item(entry: UnknownPrice, *, may_price: bool) -> AttentionItem:
    text = ngettext(
        "%(count)s of the latest requests was answered by %(model)s of %(provider)s, "
        "whose price is unknown.",
        "%(count)s of the latest requests were answered by %(model)s of %(provider)s, "
        "whose price is unknown.",
        entry.requests,
    ) % {
        "count": entry.requests,
        "model": entry.upstream_model,
        "provider": entry.provider.name,
    }
    buttons: tuple[Button, ...] = ()
    if may_price:
        address = build_add_address(provider=entry.provider.pk, upstream_model=entry.upstream_model)
        buttons = (Button(_("Price this model"), address),)
    return AttentionItem("price", WAIT, text, buttons=buttons)
