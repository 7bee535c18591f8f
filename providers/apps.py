"""The app configuration of `providers`, and the triggers of its tables."""

from django.apps import AppConfig

from providers.database.triggers import TriggerSet, install_after_migrate


class ProvidersConfig(AppConfig):
    name = "providers"

    def ready(self) -> None:
        from providers import checks  # noqa: F401

        install_after_migrate(self, list_trigger_sets)
        register_deletions()


def register_deletions() -> None:
    """Register how providers are deleted: each has a deletion of its own and is disabled at once.

    A provider that is being deleted gets no further requests, because `mark_rows` writes
    `enabled=False`.
    """
    from providers.deletions.deletion_jobs import DeletionRules, register_rules
    from providers.models import Provider

    def disable_providers(ids: list[int]) -> None:
        Provider.objects.filter(pk__in=ids).update(enabled=False)

    register_rules("providers.provider", DeletionRules(disable_providers, is_one_by_one=True))


def list_trigger_sets() -> list[TriggerSet]:
    """Return the triggers of this app's tables."""
    from providers.database.revisions import WatchedTable, list_watch_triggers

    tables = (
        "providers_provider",
        "providers_chatmodel",
        "providers_modelalias",
        "providers_virtualmodel",
    )
    return list_watch_triggers(WatchedTable(table, "catalogue") for table in tables)
