"""Periodic tasks: delete expired rows, and resume unfinished documents."""

from celery import shared_task
from django.db.models.functions import Now

from conversations import retention
from conversations.documents import ingest
from conversations.files import file_storage, parted_uploads_store
from conversations.models import Conversation
from conversations.upstream_chats import cleanup


@shared_task
def sweep_files() -> None:
    """Delete expired files and uploads, and bytes that belong to no file."""
    parted_uploads_store.delete_stale_uploads()
    file_storage.delete_stale_files()


@shared_task
def expire_conversations() -> None:
    """Delete conversations and documents that have expired."""
    retention.delete_all_expired()


@shared_task
def say_farewells() -> int:
    """Delete chats that no conversation needs at their upstreams; return how many are gone."""
    return cleanup.delete_due_chats()


@shared_task
def sweep_documents() -> int:
    """Resume the documents whose process died; return how many."""
    return ingest.resume_abandoned_documents()


@shared_task
def delete_expired_of_user(user_id: int) -> int:
    """Delete the conversations of a user that have expired; return how many."""
    expired = Conversation.objects.filter(user_id=user_id, expires_at__lte=Now())
    return retention.delete_conversations(expired)
