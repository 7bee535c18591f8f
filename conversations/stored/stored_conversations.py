"""Find and create a user's conversations that have an id of their own, `conv_…`."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from conversations.messages.items import Entry
from conversations.models import Conversation, ConversationKind
from conversations.stored.stored_items import add_items
from conversations.stored.unknown_ids import unknown_conversation

CONVERSATION_ID = re.compile(r"conv_[0-9a-f]{32}", re.ASCII)


def conversations_of(user_id: int) -> QuerySet[Conversation]:
    """Return a user's conversations that have an id of their own."""
    return Conversation.objects.of_user(user_id).exclude_threads()


def find_conversation(user_id: int, conversation_id: str) -> Conversation:
    """Return a user's own conversation. Raises UnknownUrl."""
    if not CONVERSATION_ID.fullmatch(conversation_id):
        raise unknown_conversation(conversation_id)
    conversation = conversations_of(user_id).filter(pk=conversation_id).first()
    if conversation is None:
        raise unknown_conversation(conversation_id)
    return conversation


@transaction.atomic
def create_open_conversation(
    user_id: int, metadata: dict[str, str], entries: Sequence[Entry], idle_seconds: int
) -> Conversation:
    """Create a conversation with these items.

    It is deleted after `idle_seconds` without a turn; 0 means never. Raises InvalidRequest when the
    user's storage is full.
    """
    conversation = Conversation.objects.create(
        user_id=user_id,
        kind=ConversationKind.OPEN,
        metadata=metadata,
        **make_expiry_fields(idle_seconds),
    )
    if entries:
        add_items(conversation, entries)
    return conversation


def make_expiry_fields(idle_seconds: int) -> dict[str, Any]:
    """Return the expiry fields of a new conversation."""
    if not idle_seconds:
        return {"idle_seconds": None, "expires_at": None}
    return {
        "idle_seconds": idle_seconds,
        "expires_at": timezone.now() + timedelta(seconds=idle_seconds),
    }
