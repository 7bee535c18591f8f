"""The app, and the triggers of its tables."""

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import checks, files, retention  # noqa: F401

        post_migrate.connect(install_triggers, sender=self)


def install_triggers(using: str, **kwargs: object) -> None:
    from conversations import partings, words

    words.install(connections[using])
    partings.install(connections[using])
