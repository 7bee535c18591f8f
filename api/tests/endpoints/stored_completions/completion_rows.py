"""Stored chat completions: their rows, ids and list."""

import uuid

from api.relay.lean_request import new_request_id
from conversations.messages import chat_to_items, items
from conversations.messages.items import Entry
from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search import item_search

PATH = "/v1/chat/completions"
QUESTION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is six by seven?"},
]
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def make_answer(text="It is 42."):
    """Return an answer of the model as an entry of a turn."""
    data = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    }
    return Entry("message", "assistant", data, text)


def create_completion(person, *answer, asked=QUESTION, conversation=None, **fields):
    """Create a stored completion of that question and answer.

    It stands in a thread of its own, or at the end of a conversation.
    """
    where = conversation or Conversation.objects.create(
        user=person.user, kind=ConversationKind.THREAD
    )
    where.last_number += 1
    where.save()
    given = {
        "endpoint": TurnEndpoint.CHAT,
        "status": TurnStatus.COMPLETED,
        "stored": True,
        "model": "m",
        "finish_reason": "stop",
    }
    turn_id = uuid.UUID(new_request_id().removeprefix("req_"))
    given |= {
        "conversation": where,
        "user": person.user,
        "number": where.last_number,
        "usage": USAGE,
    }
    turn = Turn.objects.create(id=turn_id, **given | fields)
    for output, entries in (
        (False, chat_to_items.entries_from_messages(asked)),
        (True, answer or (make_answer(),)),
    ):
        made = [
            Item(
                public_id=items.make_public_id(entry.type, turn_id.hex, place, output=output),
                conversation=where,
                turn=turn,
                output=output,
                type=entry.type,
                role=entry.role,
                text=entry.text,
                data=entry.data,
            )
            for place, entry in enumerate(entries)
        ]
        item_search.add_items_to_index(person.user.pk, Item.objects.bulk_create(made))
    return turn


def completion_id(turn):
    """Return the id by which callers know a stored completion."""
    return f"chatcmpl-{turn.pk.hex}"


async def list_completions(gateway, key, **params):
    """Return a page of the stored completions as JSON."""
    answer = await gateway.send_request("GET", PATH, key, params=params)
    assert answer.status == 200, answer.body
    return answer.json
