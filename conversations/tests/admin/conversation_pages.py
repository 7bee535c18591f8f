"""Conversations to look at, and the pages of the admin that show them."""

import uuid
from typing import Any

from django.contrib.admin.utils import quote
from django.test import Client
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
from providers.tests.admin.provider_pages import read_page

MARKUP = "<script>alert(1)</script>"
LIST = "conversations_conversation_changelist"


def shown(client: Client, row: Conversation, **query: Any) -> str:
    return read_page(client, "conversations_conversation_change", quote(row.pk), **query)


def conversation(user: Any, turns: int = 1, **fields: Any) -> Conversation:
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
        )
        put(turn, f"question {number}", role="user")
        put(turn, f"answer {number}", role="assistant", output=True)
    return row


def put(turn: Turn, text: str, kind: str = "message", **fields: Any) -> Item:
    item = Item.objects.create(
        public_id=f"msg_{uuid.uuid4().hex}",
        conversation=turn.conversation,
        turn=turn,
        type=kind,
        text=text,
        **{"data": {}, **fields},
    )
    item_search.add_items_to_index(turn.user_id, [item])
    return item
