"""The app, and the triggers of its tables."""

from django.apps import AppConfig
from django.conf import settings

from providers.database.triggers import TriggerSet, install_after_migrate


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = "API"

    def ready(self) -> None:
        from api import checks  # noqa: F401
        from api.batches import batch_cleanup  # noqa: F401
        from api.playground import session_keys  # noqa: F401

        install_after_migrate(self, list_trigger_sets)
        register_deletions()


def register_deletions() -> None:
    """Register how users and API keys are deleted.

    Keys that are deleted, and those of deleted users, are refused from that moment on.
    """
    from django.contrib.auth import get_user_model

    from api.models import ApiKey
    from providers.deletions.deletion_jobs import DeletionRules, register_rules

    def deactivate_users(ids: list[int]) -> None:
        get_user_model().objects.filter(pk__in=ids).update(is_active=False)

    def revoke_keys(ids: list[int]) -> None:
        ApiKey.objects.filter(pk__in=ids).revoke()

    register_rules(
        "auth.user",
        DeletionRules(deactivate_users, lambda rows: rows.delete()[0], is_one_by_one=True),
    )
    register_rules("api.apikey", DeletionRules(revoke_keys, is_one_by_one=True))
    # their signal deletes the files of running batches
    register_rules("api.batch", DeletionRules(delete_with_signals=lambda rows: rows.delete()[0]))


def list_trigger_sets() -> list[TriggerSet]:
    """Return the triggers of this app's tables, and that of the users' table."""
    from django.apps import apps

    from api.limit_triggers import list_limit_triggers
    from api.usage.rollup_triggers import list_rollup_triggers
    from api.user_triggers import list_user_triggers
    from providers.database.revisions import WatchedTable, list_watch_triggers

    columns = (
        "id",
        "user_id",
        "digest",
        "allowed_models",
        "expires_at",
        "revoked_at",
        "stores_content",
        "remembers_sessions",
        "default_model",
    )
    keys = WatchedTable("api_apikey", "keys", columns, is_stamped=True)
    watches = [keys, WatchedTable("api_price", "prices")]
    users = apps.get_model(settings.AUTH_USER_MODEL)._meta.db_table
    return [
        *list_watch_triggers(watches),
        *list_user_triggers(users),
        *list_limit_triggers(),
        *list_rollup_triggers(),
    ]
