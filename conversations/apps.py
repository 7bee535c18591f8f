"""The app, and the triggers of its tables."""

from django.apps import AppConfig

from providers.database.triggers import TriggerSet, install_after_migrate


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import checks, retention  # noqa: F401
        from conversations.files import parted_uploads_store  # noqa: F401

        install_after_migrate(self, list_trigger_sets)
        register_deletions()


def register_deletions() -> None:
    """Register how files and conversations are deleted.

    Files and parts of uploads are deleted one by one as rows in bulk deletions, so that their bytes
    are deleted too.
    Conversations are hidden at once, and named by their ids, because a title is content.
    """
    from conversations import retention
    from providers.deletions.deletion_jobs import DeletionRules, register_rules

    register_rules(
        "conversations.conversation",
        DeletionRules(
            retention.hide_conversations,
            delete_rows=retention.delete_hidden_conversations,
            get_name=lambda row: str(row.pk),
        ),
    )

    for model in ("conversations.storedfile", "conversations.uploadpart"):
        register_rules(model, DeletionRules(delete_with_signals=lambda rows: rows.delete()[0]))


def list_trigger_sets() -> list[TriggerSet]:
    """Return the triggers of this app's tables."""
    from conversations.search import full_text_index
    from conversations.upstream_chats import chat_triggers

    return [full_text_index.TRIGGERS, chat_triggers.TRIGGERS]
