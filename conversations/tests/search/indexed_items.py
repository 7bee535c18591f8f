"""Conversations whose items are in the full-text index."""

import uuid

from django.db import connection, transaction

from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search import item_search


def create_conversation(user, *texts, title="", **fields):
    """Create a conversation with a turn whose messages are `texts`, in the index."""
    row = Conversation.objects.create(
        user=user, title=title, **{"kind": ConversationKind.OPEN, **fields}
    )
    add_turn(row, *texts)
    return row


def add_turn(row, *texts):
    """Add a turn with these messages to a conversation; return its items."""
    row.last_number += 1
    row.save()
    turn = Turn.objects.create(
        conversation=row,
        user_id=row.user_id,
        number=row.last_number,
        endpoint=TurnEndpoint.CHAT,
        status=TurnStatus.COMPLETED,
    )
    with transaction.atomic():
        items = Item.objects.bulk_create(
            Item(
                public_id=f"msg_{uuid.uuid4().hex}",
                conversation=row,
                turn=turn,
                type="message",
                role="user",
                text=text,
                data={
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": text}],
                },
            )
            for text in texts
        )
        item_search.add_items_to_index(row.user_id, items)
    return items


def find_snippets(person, query, limit=100, before=None):
    """Return the snippets of the items that a search finds, newest first."""
    return [hit.snippet for hit in item_search.search_items(person.user.pk, query, limit, before)]


def dump_index():
    """Return everything that the index holds, as text."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT words::text FROM conversations_words")
            return str(cursor.fetchall())
        tables = connection.introspection.table_names(cursor)
        rows = []
        for table in tables:
            if table.startswith("conversations_words"):
                cursor.execute(f"SELECT * FROM {table}")
                rows.append(cursor.fetchall())
        return str(rows)
