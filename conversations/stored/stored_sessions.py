"""Find and create a user's sessions: conversations that the client has named."""

from django.db import transaction
from django.db.models import QuerySet

from conversations import retention
from conversations.models import Conversation, ConversationKind
from conversations.stored.stored_conversations import make_expiry_fields
from conversations.stored.unknown_ids import unknown_session


def sessions_of(user_id: int) -> QuerySet[Conversation]:
    """Return a user's conversations that the client has named, through whichever endpoint."""
    return Conversation.objects.of_user(user_id).filter(kind=ConversationKind.NAMED)


def find_session(user_id: int, name: str) -> Conversation:
    """Return a user's session by its name. Raises UnknownUrl."""
    session = sessions_of(user_id).filter(name=name).first()
    if session is None:
        raise unknown_session(name)
    return session


@transaction.atomic
def find_or_create_session(user_id: int, name: str, idle_seconds: int) -> Conversation:
    """Return the user's session of this name; create it if there is none.

    An expired session of the same name is deleted first.
    """
    same_name = Conversation.objects.filter(user_id=user_id, name=name)
    retention.delete_conversations(same_name.filter_expired())
    session, _ = same_name.get_or_create(
        defaults={
            "user_id": user_id,
            "kind": ConversationKind.NAMED,
            "name": name,
            **make_expiry_fields(idle_seconds),
        }
    )
    return session
