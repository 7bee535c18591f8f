"""Requests to /v1/conversations, and rows of conversations."""

from datetime import timedelta

from django.utils import timezone

from conversations.models import Conversation, ConversationKind, Turn, TurnEndpoint, TurnStatus

HELLO = {"type": "message", "role": "user", "content": "Hello!"}


async def create_conversation(gateway, key, **body):
    """Create a conversation over HTTP; return it as JSON."""
    answer = await gateway.send_request("POST", "/v1/conversations", key, json=body)
    assert answer.status == 200, answer.body
    return answer.json


async def add_items(gateway, key, conversation_id, *items, **params):
    """Put items into a conversation; return the answer."""
    path = f"/v1/conversations/{conversation_id}/items"
    return await gateway.send_request("POST", path, key, json={"items": list(items)}, params=params)


async def list_items(gateway, key, conversation_id, **params):
    """Return a page of a conversation's items as JSON."""
    answer = await gateway.send_request(
        "GET", f"/v1/conversations/{conversation_id}/items", key, params=params
    )
    assert answer.status == 200, answer.body
    return answer.json


def create_conversation_row(person, kind=ConversationKind.OPEN, **fields):
    """Create the row of a conversation."""
    return Conversation.objects.create(user=person.user, kind=kind, **fields)


def create_running_turn(conversation, seconds=60, **fields):
    """Create a turn whose process says that it lives for `seconds` more."""
    number = conversation.last_number + 1
    Conversation.objects.filter(pk=conversation.pk).update(last_number=number)
    given = {"endpoint": TurnEndpoint.RESPONSE, "status": TurnStatus.IN_PROGRESS} | fields
    alive_until = timezone.now() + timedelta(seconds=seconds)
    return Turn.objects.create(
        conversation=conversation,
        user_id=conversation.user_id,
        number=number,
        alive_until=alive_until,
        **given,
    )
