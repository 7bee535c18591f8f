"""Periodic work on what users left here."""

from celery import shared_task

from conversations import farewells, files, retention
from conversations.documents import ingest


@shared_task
def sweep_files() -> None:
    """Delete bytes that belong to no file any more."""
    files.sweep()


@shared_task
def expire_conversations() -> None:
    """Delete conversations and documents that have expired."""
    retention.expire()


@shared_task
def say_farewells() -> int:
    """Delete at their upstreams the chats that no conversation stands in any more; returns how many are gone."""
    return farewells.say()


@shared_task
def sweep_documents() -> int:
    """Take up the documents whose process died; returns how many."""
    return ingest.sweep()
