"""The price of each model in the list of models: that which is in force now."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _

from api.models import Price
from api.pricing.price_texts import render_usd
from providers.models import ChatModel

VIEW_PRICES = "api.view_price"


def prepare_price_column() -> Callable[[ChatModel], object]:
    """Read the prices in force, and return the cell of a model."""
    valid = Price.objects.filter(valid_from__lte=timezone.now()).order_by("valid_from")
    prices = {(price.provider_id, price.upstream_model): price for price in valid}

    def render_cell(model: ChatModel) -> object:
        price = prices.get((model.provider_id, model.upstream_name))
        if price is None:
            query = {"provider": model.provider_id, "upstream_model": model.upstream_name}
            address = f"{reverse('admin:api_price_add')}?{urlencode(query)}"
            return format_html(
                '<span class="quiet">{}</span> <a href="{}">{}</a>',
                _("unknown"),
                address,
                _("set"),
            )
        address = reverse("admin:api_price_change", args=[price.pk])
        return format_html(
            '<a class="nowrap" href="{}" title="{}">{} / {}</a>',
            address,
            _("prompt / completion"),
            render_usd(price.prompt_usd),
            render_usd(price.completion_usd),
        )

    return render_cell
