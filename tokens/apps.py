"""The configuration of the app: its triggers, and its rules for deletions."""

from uuid import UUID

from django.apps import AppConfig

from providers.database.triggers import TriggerSet, install_after_migrate

WATCHED_COLUMNS = (
    "id",
    "provider_id",
    "account_id",
    "sealed",
    "sealed_refresh",
    "state",
    "strikes",
    "rests_until",
    "expires_at",
    "priority",
    "weight",
)


class TokensConfig(AppConfig):
    name = "tokens"

    def ready(self) -> None:
        install_after_migrate(self, list_trigger_sets)
        register_deletions()


def register_deletions() -> None:
    """Register how the deletion of tokens and accounts begins.

    From then on the tokens are not picked any more and the accounts do not sign in.
    """
    from providers.deletions.deletion_jobs import DeletionRules, register_rules
    from tokens.models import UpstreamAccount, UpstreamToken
    from tokens.querysets import DELETED_REASON

    def mark_tokens(ids: list[UUID]) -> None:
        UpstreamToken.objects.filter(pk__in=ids).mark_disabled(DELETED_REASON)

    def mark_accounts(ids: list[UUID]) -> None:
        UpstreamAccount.objects.filter(pk__in=ids).update(enabled=False)
        UpstreamToken.objects.filter(account__in=ids).mark_disabled(DELETED_REASON)

    register_rules("tokens.upstreamtoken", DeletionRules(mark_tokens))
    register_rules("tokens.upstreamaccount", DeletionRules(mark_accounts))


def list_trigger_sets() -> list[TriggerSet]:
    """Return the triggers of this app's tables."""
    from providers.database.revisions import WatchedTable, list_watch_triggers
    from tokens.history_triggers import list_transition_triggers

    tokens = WatchedTable("tokens_upstreamtoken", "tokens", WATCHED_COLUMNS, is_stamped=True)
    watches = [tokens, WatchedTable("tokens_breakerstate", "breakers")]
    return [*list_watch_triggers(watches), list_transition_triggers()]
