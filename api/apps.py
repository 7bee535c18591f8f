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
        register_deletions()


def register_deletions() -> None:
    """Keys that are deleted, and those of users that are, are refused from that moment on."""
    from django.contrib.auth import get_user_model

    from api.models import ApiKey
    from providers.deletions import Rules, register

    def mark_users(ids: list[int]) -> None:
        get_user_model().objects.filter(pk__in=ids).update(is_active=False)

    def mark_keys(ids: list[int]) -> None:
        ApiKey.objects.filter(pk__in=ids).revoke()

    register("auth.user", Rules(mark_users, lambda rows: rows.delete()[0], one_by_one=True))
    register("api.apikey", Rules(mark_keys, one_by_one=True))


def install_triggers(using: str, **kwargs: object) -> None:
    from django.apps import apps

    from api import user_trigger
    from providers.revisions import Watch, install

    columns = ("id", "user_id", "digest", "allowed_models", "expires_at", "revoked_at", "stores_content")
    install(connections[using], [Watch("api_apikey", "keys", columns, stamped=True)])
    user_trigger.install(connections[using], apps.get_model(settings.AUTH_USER_MODEL)._meta.db_table)
