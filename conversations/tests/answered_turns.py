"""Conversations whose turns have a question and an answer each."""

import uuid
from typing import Any

from django.utils import timezone

from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search import item_search


def create_conversation(
    user: Any, turns: int = 1, *, turn_fields: dict[str, Any] | None = None, **fields: Any
) -> Conversation:
    """Create a conversation of so many turns, whose messages are in the index."""
    row = Conversation.objects.create(
        user=user,
        **{"kind": ConversationKind.OPEN, "title": "Birds", "last_number": turns, **fields},
    )
    for number in range(1, turns + 1):
        turn = Turn.objects.create(
            conversation=row,
            user=user,
            number=number,
            endpoint=TurnEndpoint.CHAT,
            status=TurnStatus.COMPLETED,
            model="kimi-k2",
            finished_at=timezone.now(),
            **(turn_fields or {}),
        )
        create_item(turn, f"question {number}", role="user")
        create_item(turn, f"answer {number}", role="assistant", output=True)
    return row


def create_item(turn: Turn, text: str, kind: str = "message", **fields: Any) -> Item:
    """Create an item of a turn, which the index knows."""
    data = {"type": kind, "content": [{"type": "output_text", "text": text}]}
    item = Item.objects.create(
        public_id=f"msg_{uuid.uuid4().hex}",
        conversation=turn.conversation,
        turn=turn,
        type=kind,
        text=text,
        **{"data": data, **fields},
    )
    item_search.add_items_to_index(turn.user_id, [item])
    return item
