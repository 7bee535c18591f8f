"""The app, and the triggers of its tables."""

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import checks, files, retention  # noqa: F401

        post_migrate.connect(install_triggers, sender=self)
        register_deletions()


def register_deletions() -> None:
    """Files are deleted one by one as rows, so that their bytes go too."""
    from providers.deletions import Rules, register

    register("conversations.storedfile", Rules(erase=lambda rows: rows.delete()[0]))


def install_triggers(using: str, **kwargs: object) -> None:
    from conversations import partings, words

    words.install(connections[using])
    partings.install(connections[using])
