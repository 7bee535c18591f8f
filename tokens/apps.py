"""The app, and the triggers of its tables."""

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate

WATCHED = (
    *("id", "provider_id", "account_id", "sealed", "sealed_refresh", "state", "strikes", "rests_until", "expires_at"),
    *("priority", "weight"),
)


class TokensConfig(AppConfig):
    name = "tokens"

    def ready(self) -> None:
        post_migrate.connect(install_triggers, sender=self)


def install_triggers(using: str, **kwargs: object) -> None:
    from providers.revisions import Watch, install
    from tokens import transitions

    tokens = Watch("tokens_upstreamtoken", "tokens", WATCHED, stamped=True)
    install(connections[using], [tokens, Watch("tokens_breakerstate", "breakers")])
    transitions.install(connections[using])
