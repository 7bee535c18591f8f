"""Rows with much behind them, and the request that deletes one."""

import uuid
from datetime import UTC, datetime

from api.models import UsageRecord
from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)


def talk(user, turns=30, items=100):
    """A conversation with so many items, in few statements."""
    row = Conversation.objects.create(user=user, kind=ConversationKind.OPEN)
    made = Turn.objects.bulk_create(
        Turn(
            conversation=row,
            user=user,
            number=n,
            door=TurnEndpoint.CHAT,
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


def used(user, **fields):
    given = {"endpoint": "chat/completions", "model": "m", "stream": False, "status": "complete"}
    return UsageRecord.objects.create(user=user, started_at=datetime.now(UTC), **given | fields)


def delete(client, model, pk):
    return client.post(f"/admin/{model}/{pk}/delete/", {"post": "yes"})
