"""Rows with very much behind them, and the click that deletes a row in the admin."""

import uuid

from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)


def create_conversation(user, turns=30, items=100):
    """A conversation with so many items, in few statements."""
    row = Conversation.objects.create(user=user, kind=ConversationKind.OPEN)
    made = Turn.objects.bulk_create(
        Turn(
            conversation=row,
            user=user,
            number=n,
            endpoint=TurnEndpoint.CHAT,
            status=TurnStatus.COMPLETED,
        )
        for n in range(turns)
    )
    Item.objects.bulk_create(
        Item(
            public_id=f"msg_{uuid.uuid4().hex}",
            conversation=row,
            turn=turn,
            type="message",
            data={},
        )
        for turn in made
        for _ in range(items)
    )
    return row


def delete_in_admin(client, model, pk):
    return client.post(f"/admin/{model}/{pk}/delete/", {"post": "yes"})
