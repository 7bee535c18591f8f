"""The app, and the triggers of its tables."""

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = "API"

    def ready(self) -> None:
        post_migrate.connect(install_triggers, sender=self)


def install_triggers(using: str, **kwargs: object) -> None:
    from django.apps import apps

    from api import user_trigger
    from providers.revisions import Watch, install

    columns = ("id", "user_id", "digest", "allowed_models", "expires_at", "revoked_at", "stores_content")
    install(connections[using], [Watch("api_apikey", "keys", columns, stamped=True)])
    user_trigger.install(connections[using], apps.get_model(settings.AUTH_USER_MODEL)._meta.db_table)
