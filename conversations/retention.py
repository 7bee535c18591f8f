"""Delete conversations completely, and everything that has expired.

With a conversation go its turns, items, words, events and the documents that only it had. One with
very many items is deleted in pieces, each in one transaction, so that other writers do not wait
long. It expires before the first piece, so no request finds it, and the sweep finishes the work
after a crash. Only ids are loaded.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.db.models.signals import post_delete
from django.dispatch import receiver

from conversations.models import Conversation, Document, EventBatch, Item, Passage, Turn
from conversations.search.index_cleanup import remove_deleted_words

CONVERSATIONS_AT_ONCE = 200
ITEMS_AT_ONCE = 1_000
DOCUMENTS_AT_ONCE = 100
MERGE_SECONDS = 2.0  # after a deletion; the hourly sweep does the rest
SWEEP_MERGE_SECONDS = 60.0


def delete_conversations(conversations: QuerySet[Conversation]) -> int:
    """Delete these conversations with all their contents; return how many."""
    deleted_count = 0
    while ids := mark_conversations_expired(conversations):
        for _ in delete_conversation_items(ids):
            pass
        deleted_count += delete_conversation_rows(ids)
        if len(ids) < CONVERSATIONS_AT_ONCE:
            break
    if deleted_count:
        transaction.on_commit(purge_search_index)
    return deleted_count


@transaction.atomic
def mark_conversations_expired(conversations: QuerySet[Conversation]) -> list[str]:
    """Mark some of the conversations as expired now; return their ids.

    A conversation that is locked is waited for, and left out if it no longer matches then.
    """
    locked = conversations.order_by("pk").select_for_update(of=("self",))
    ids = list(locked.values_list("pk", flat=True)[:CONVERSATIONS_AT_ONCE])
    Conversation.objects.filter(pk__in=ids).update(expires_at=Now())
    return ids


def hide_conversations(ids: Sequence[str]) -> None:
    """Mark these conversations as expired, so that no request finds them any more."""
    Conversation.objects.filter(pk__in=ids).update(expires_at=Now())


def delete_hidden_conversations(ids: Sequence[str]) -> Iterator[int]:
    """Delete these conversations completely; yield the number of rows of each transaction.

    The caller may pause between them, and begin again after it was interrupted.
    """
    for start in range(0, len(ids), CONVERSATIONS_AT_ONCE):
        piece = ids[start : start + CONVERSATIONS_AT_ONCE]
        yield from delete_conversation_items(piece)
        yield delete_conversation_rows(piece)
    purge_search_index()


def delete_conversation_items(ids: Sequence[str]) -> Iterator[int]:
    """Delete the items of these conversations; yield the number of each transaction.

    A trigger deletes their words.
    """
    items = Item.objects.filter(conversation__in=ids)
    while True:
        with transaction.atomic():
            item_ids = list(items.order_by("pk").values_list("pk", flat=True)[:ITEMS_AT_ONCE])
            raw_delete_rows(Item.objects.filter(pk__in=item_ids))
        yield len(item_ids)
        if len(item_ids) < ITEMS_AT_ONCE:
            return


@transaction.atomic
def delete_conversation_rows(ids: Sequence[str]) -> int:
    """Delete these conversations with all that is left of them; return how many.

    Also deletes newer items, events, turns, and documents of no other conversation.
    """
    lock_conversations(ids)
    turns = Turn.objects.filter(conversation__in=ids)
    document_links = Conversation.documents.through.objects.filter(conversation__in=ids)
    document_ids = list(document_links.values_list("document_id", flat=True).distinct())
    raw_delete_rows(document_links)
    raw_delete_rows(EventBatch.objects.filter(turn__in=turns))
    raw_delete_rows(Item.objects.filter(conversation__in=ids))
    Conversation.objects.filter(base_turn__in=turns).update(base_turn=None)
    Conversation.objects.filter(system_turn__in=turns).update(system_turn=None)
    raw_delete_rows(turns)
    deleted_count = raw_delete_rows(Conversation.objects.filter(pk__in=ids))
    delete_documents(Document.objects.filter(pk__in=document_ids, file=None, conversation=None))
    return deleted_count


def lock_conversations(ids: Sequence[str]) -> None:
    """Lock the rows of these conversations, in the order of their keys."""
    locked = Conversation.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    list(locked.values_list("pk"))


@transaction.atomic
def delete_documents(documents: QuerySet[Document]) -> int:
    """Delete documents with their passages and indexes; return how many."""
    matching_ids = list(documents.values_list("pk", flat=True))
    locked = Document.objects.select_for_update().filter(pk__in=matching_ids)
    ids = list(locked.order_by("pk").values_list("pk", flat=True))
    raw_delete_rows(Conversation.documents.through.objects.filter(document__in=ids))
    raw_delete_rows(Passage.objects.filter(document__in=ids))
    return raw_delete_rows(Document.objects.filter(pk__in=ids))


def remove_document_links(conversation: Conversation) -> None:
    """Remove the documents of its instructions from a conversation.

    Documents of no other conversation are deleted.
    """
    document_ids = list(conversation.documents.filter(file=None).values_list("pk", flat=True))
    conversation.documents.clear()
    delete_documents(Document.objects.filter(pk__in=document_ids, conversation=None))


def raw_delete_rows(rows: QuerySet[Any]) -> int:
    """Delete the rows with one DELETE; return how many.

    Dependent rows must be deleted already, so Django has nothing to collect.
    """
    return rows._raw_delete(rows.db)


def delete_all_expired() -> tuple[int, int]:
    """Delete expired conversations and documents; return how many of each."""
    conversation_count = delete_conversations(Conversation.objects.filter_expired())
    document_count = 0
    while count := delete_documents(Document.objects.filter(pk__in=list_expired_document_ids())):
        document_count += count
    remove_deleted_words(SWEEP_MERGE_SECONDS)
    return conversation_count, document_count


def list_expired_document_ids() -> list[str]:
    return list(Document.objects.filter_expired().values_list("pk", flat=True)[:DOCUMENTS_AT_ONCE])


def purge_search_index() -> None:
    """Erase deleted words from the search index, if that is quickly done."""
    if not connection.in_atomic_block:
        remove_deleted_words(MERGE_SECONDS)


@receiver(post_delete, sender=get_user_model())
def schedule_index_purge(**signal: object) -> None:
    transaction.on_commit(purge_search_index)
