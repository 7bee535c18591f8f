"""The pages with the set-up of clients, and with the models that the user may use."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from api.portal.guides.client_guides import (
    KEY_PLACEHOLDER,
    MODEL_PLACEHOLDER,
    Connection,
    has_messages_endpoint,
    list_snippets,
)
from api.portal.own_keys.issuing_bounds import list_own_models
from api.portal.portal_access import get_user, own_page, render_page
from api.pricing.price_directory import PriceDirectory, read_directory
from api.pricing.price_rates import UNITS_PER_USD
from providers.models import ChatModel

PER_MILLION = 1_000_000


@own_page("GET")
def show_clients(request: HttpRequest) -> HttpResponseBase:
    """Show the snippets, for the model in the address or else the first one."""
    models = list(list_own_models(get_user(request)))
    chosen = request.GET.get("model", "")
    model = chosen if chosen in models else next(iter(models), "")
    connection = make_connection(request, KEY_PLACEHOLDER, model)
    return render_page(
        request,
        "clients",
        models=models,
        model=model,
        connection=connection,
        snippets=list_snippets(connection),
        has_messages=has_messages_endpoint(),
    )


def make_connection(request: HttpRequest, key: str, model: str) -> Connection:
    origin = request.build_absolute_uri("/").rstrip("/")
    return Connection(origin, key, model or MODEL_PLACEHOLDER)


@own_page("GET")
def list_models(request: HttpRequest) -> HttpResponseBase:
    """Show the models that the user may use, with their prices where they are known."""
    models = list_own_models(get_user(request))
    prices = find_prices(read_directory())
    lines = [
        {**model, "price": prices.get(str(model.get("root", name))) or prices.get(name)}
        for name, model in models.items()
    ]
    return render_page(request, "models", models=lines)


def find_prices(directory: PriceDirectory) -> dict[str, dict[str, Any]]:
    """Return the price in USD of a million tokens of each model, by public id.

    A model that several providers have gets a price only if they agree.
    """
    now = datetime.now(UTC)
    found: dict[str, dict[str, Any] | None] = {}
    for model in ChatModel.objects.filter_served():
        price = directory.find_price(model.provider_id, model.upstream_name, now)
        line = None
        if price is not None:
            line = {
                "prompt": to_usd(price.rates.prompt),
                "completion": to_usd(price.rates.completion),
            }
        if found.setdefault(model.public_id, line) != line:
            found[model.public_id] = None
    return {name: line for name, line in found.items() if line is not None}


def to_usd(units: int | None) -> Decimal | None:
    """Return the price of a million tokens in USD."""
    return None if units is None else Decimal(units * PER_MILLION) / UNITS_PER_USD
