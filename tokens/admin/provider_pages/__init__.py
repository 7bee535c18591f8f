"""The parts of the pages of providers that are about their tokens and upstreams."""

from django.utils.translation import gettext_lazy

from providers.admin.page_sections import (
    MODEL_PAGE,
    PROVIDER_PAGE,
    Button,
    Column,
    Section,
    SubPage,
)
from tokens.admin.provider_pages.ask_again import ask_again
from tokens.admin.provider_pages.connection_page import apply_proposal, show_connection_page
from tokens.admin.provider_pages.health import (
    VIEW_TOKENS,
    has_open_breaker,
    prepare_breaker_column,
    prepare_token_column,
    prepare_usable_column,
    render_health,
    render_token_counts,
)
from tokens.admin.provider_pages.sync_page import apply_sync, show_sync_page

CHANGE_PROVIDER = "providers.change_provider"

PROVIDER_PAGE.register_parts(
    Column("breaker", gettext_lazy("health"), prepare_breaker_column),
    Column("usable_tokens", gettext_lazy("usable tokens"), prepare_token_column, VIEW_TOKENS),
    Section(gettext_lazy("Health"), render_health, order=10),
    Section(gettext_lazy("Tokens"), render_token_counts, order=20, permission=VIEW_TOKENS),
    SubPage("ask-again", ask_again),
    SubPage("test", show_connection_page),
    SubPage("apply-test", apply_proposal),
    SubPage("sync", show_sync_page),
    SubPage("apply-sync", apply_sync),
    Button(
        gettext_lazy("Test connection"),
        "admin:providers_provider_test",
        order=20,
        permission=CHANGE_PROVIDER,
        is_post=True,
        values=lambda provider: {"dialect": "1"},
        help_text=gettext_lazy("Some tiny questions to its upstream; takes up to a minute."),
    ),
    Button(
        gettext_lazy("Last test"), "admin:providers_provider_test", 21, permission=CHANGE_PROVIDER
    ),
    Button(
        gettext_lazy("Sync models"),
        "admin:providers_provider_sync",
        order=30,
        permission="providers.change_chatmodel",
        is_post=True,
        help_text=gettext_lazy("Asks for its list; nothing is changed before you tick it."),
    ),
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

MODEL_PAGE.register_parts(
    Column("usable_token", gettext_lazy("can answer"), prepare_usable_column),
)
