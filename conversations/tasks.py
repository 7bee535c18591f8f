"""Periodic work on what users left here."""

from celery import shared_task

from conversations import retention
from conversations.documents import ingest
from conversations.files import file_storage
from conversations.upstream_chats import cleanup


@shared_task
def sweep_files() -> None:
    """Delete bytes that belong to no file any more."""
    file_storage.sweep()


@shared_task
def expire_conversations() -> None:
    """Delete conversations and documents that have expired."""
    retention.expire()


@shared_task
def say_farewells() -> int:
    """Delete at their upstreams the chats that no conversation stands in any more; returns how many
    are gone.
    """
    return cleanup.say()


@shared_task
def sweep_documents() -> int:
    """Take up the documents whose process died; returns how many."""
    return ingest.sweep()
