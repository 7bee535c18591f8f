"""The parts of the pages of providers that are about their tokens and upstreams."""

from django.utils.translation import gettext_lazy

from providers.admin.page_sections import PROVIDER_PAGE, Button, Column, Section, SubPage
from tokens.admin.provider_pages.ask_again import ask_again
from tokens.admin.provider_pages.health import (
    VIEW_TOKENS,
    has_open_breaker,
    prepare_breaker_column,
    prepare_token_column,
    render_health,
    render_token_counts,
)

CHANGE_PROVIDER = "providers.change_provider"

PROVIDER_PAGE.register_parts(
    Column("breaker", gettext_lazy("health"), prepare_breaker_column),
    Column("usable_tokens", gettext_lazy("usable tokens"), prepare_token_column, VIEW_TOKENS),
    Section(gettext_lazy("Health"), render_health, order=10),
    Section(gettext_lazy("Tokens"), render_token_counts, order=20, permission=VIEW_TOKENS),
    SubPage("ask-again", ask_again),
    Button(
        gettext_lazy("Ask again now"),
        "admin:providers_provider_ask_again",
        order=10,
        permission=CHANGE_PROVIDER,
        is_post=True,
        style="button-primary",
        is_shown=has_open_breaker,
        help_text=gettext_lazy("Closes its circuit breaker in every process, within a second."),
    ),
)
