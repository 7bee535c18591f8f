"""The parts of the pages of providers, models and tokens that are about requests and prices."""

from django.utils.translation import gettext_lazy

from api.admin.pool_parts.model_prices import VIEW_PRICES, prepare_price_column
from api.admin.pool_parts.request_sums import (
    VIEW_RECORDS,
    render_provider_requests,
    render_token_requests,
)
from api.admin.pool_parts.routing_page import VIEW_MODELS, redirect_to_route
from providers.admin.page_sections import (
    MODEL_PAGE,
    PROVIDER_PAGE,
    TOKEN_PAGE,
    Button,
    Column,
    Section,
    SubPage,
)

PROVIDER_PAGE.register_parts(
    Section(
        gettext_lazy("Requests of the last 24 hours"),
        render_provider_requests,
        order=30,
        permission=VIEW_RECORDS,
    )
)
TOKEN_PAGE.register_parts(
    Section(
        gettext_lazy("Requests of the last 24 hours"),
        render_token_requests,
        order=35,
        permission=VIEW_RECORDS,
    )
)
MODEL_PAGE.register_parts(
    Column("price", gettext_lazy("USD / million"), prepare_price_column, VIEW_PRICES),
    SubPage("route", redirect_to_route),
    Button(
        gettext_lazy("Try a route"),
        "admin:providers_chatmodel_route",
        permission=VIEW_MODELS,
        help_text=gettext_lazy("Which tokens would a request for it try, and which not, and why?"),
    ),
)
