"""The app, and the triggers of its tables."""

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ProvidersConfig(AppConfig):
    name = "providers"

    def ready(self) -> None:
        from providers import checks  # noqa: F401

        post_migrate.connect(install_triggers, sender=self)
        register_deletions()


def register_deletions() -> None:
    """A provider that is deleted is asked no more from that moment on."""
    from providers.deletions import Rules, register
    from providers.models import Provider

    def mark(ids: list[int]) -> None:
        Provider.objects.filter(pk__in=ids).update(enabled=False)

    register("providers.provider", Rules(mark, one_by_one=True))


def install_triggers(using: str, **kwargs: object) -> None:
    from providers.revisions import Watch, install

    tables = ("providers_provider", "providers_chatmodel", "providers_modelalias", "providers_virtualmodel")
    install(connections[using], [Watch(table, "catalogue") for table in tables])
