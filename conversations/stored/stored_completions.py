"""Find and delete a user's stored chat completions; they are found by the id of the answer."""

import re
import uuid

from django.db import transaction
from django.db.models import QuerySet

from conversations import retention
from conversations.models import (
    RUNNING_STATUSES,
    Conversation,
    ConversationKind,
    EventBatch,
    Turn,
    TurnEndpoint,
)
from conversations.models.log import HISTORY_STATUSES
from conversations.stored.unknown_ids import unknown_completion

ID_PREFIX = "chatcmpl-"
COMPLETION_ID = re.compile(rf"{ID_PREFIX}[0-9a-f]{{32}}", re.ASCII)


def completions_of(user_id: int) -> QuerySet[Turn]:
    """Return a user's stored chat completions that have ended."""
    return Turn.objects.filter(
        user_id=user_id,
        endpoint=TurnEndpoint.CHAT,
        stored=True,
        status__in=HISTORY_STATUSES,
        conversation__in=Conversation.objects.of_user(user_id),
    )


def find_completion(user_id: int, completion_id: str) -> Turn:
    """Return a user's stored completion by its id. Raises UnknownUrl."""
    if not COMPLETION_ID.fullmatch(completion_id):
        raise unknown_completion(completion_id)
    turn_id = uuid.UUID(hex=completion_id.removeprefix(ID_PREFIX))
    turn = completions_of(user_id).filter(pk=turn_id).first()
    if turn is None:
        raise unknown_completion(completion_id)
    return turn


@transaction.atomic
def delete_completion(turn: Turn) -> None:
    """Delete a stored completion: it can no longer be retrieved.

    A completion that is still running is deleted and never written. In a named conversation only
    the `stored` mark is removed, and its items stay. In a thread the items are deleted; the turn's
    row stays if other turns follow it.
    """
    conversation = Conversation.objects.select_for_update().get(pk=turn.conversation_id)
    own_row = Turn.objects.filter(pk=turn.pk)
    if conversation.kind != ConversationKind.THREAD:
        own_row.update(stored=False)
    elif not turn.branches.exists() and not conversation.turns.exclude(pk=turn.pk).exists():
        retention.delete_conversations(Conversation.objects.filter(pk=conversation.pk))
    elif own_row.filter(status__in=RUNNING_STATUSES).exists():
        turn.delete()
    else:
        erase_turn(turn)


def erase_turn(turn: Turn) -> None:
    """Delete everything of a turn but its row, which other turns follow."""
    turn.items.all().delete()
    EventBatch.objects.filter(turn=turn).delete()
    Conversation.objects.filter(pk=turn.conversation_id).update(title="")
    Turn.objects.filter(pk=turn.pk).update(
        stored=False,
        metadata={},
        settings={},
        extra_fields={},
        thinking={},
        usage=None,
        error=None,
        tokens=0,
        stored_bytes=0,
    )
    transaction.on_commit(retention.purge_search_index)
