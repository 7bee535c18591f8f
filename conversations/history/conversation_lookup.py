"""Find the conversation that a turn belongs to, and lock it.

A request names its conversation by the client's own name, by OpenAI's id or by an older response
that it follows. Without any of these it starts a thread of its own.

Every lookup is limited to the user: another user's id and an unknown id give the same error.
"""

from uuid import UUID

from django.db.models import QuerySet

from conversations import retention
from conversations.history import context
from conversations.history.dead_turns import end_dead_turns, show_present_status
from conversations.history.turn_request import TurnRequest
from conversations.models import (
    RUNNING_STATUSES,
    Conversation,
    ConversationKind,
    Turn,
    TurnEndpoint,
)
from conversations.models.log import HISTORY_STATUSES
from providers.exceptions import InvalidRequest, UnknownUrl

TURN_ID_PREFIXES = {"resp_": TurnEndpoint.RESPONSE, "chatcmpl-": TurnEndpoint.CHAT}


def find_or_create_conversation(turn_request: TurnRequest) -> tuple[Conversation, bool]:
    """Find or create the conversation of a turn, lock it, and return it with whether it is new.

    An expired conversation of the same name is deleted first. Raises UnknownUrl, InvalidRequest.
    """
    own_conversations = Conversation.objects.of_user(turn_request.user_id).select_for_update()
    if turn_request.name:
        named = own_conversations.filter(name=turn_request.name).first()
        if named is not None:
            return named, False
        return create_named_conversation(turn_request), True
    if turn_request.conversation_id:
        return find_by_conversation_id(turn_request, own_conversations), False
    if turn_request.previous_id:
        return find_or_create_thread(turn_request)
    return create_conversation(turn_request, ConversationKind.THREAD), True


def create_named_conversation(turn_request: TurnRequest) -> Conversation:
    retention.delete_conversations(
        Conversation.objects.filter(
            user_id=turn_request.user_id, name=turn_request.name
        ).filter_expired()
    )
    return create_conversation(turn_request, ConversationKind.NAMED)


def create_conversation(
    turn_request: TurnRequest, kind: ConversationKind, base_turn: Turn | None = None
) -> Conversation:
    idle = turn_request.idle_seconds or None
    name = turn_request.name if kind == ConversationKind.NAMED else ""
    return Conversation.objects.create(
        user_id=turn_request.user_id, kind=kind, name=name, base_turn=base_turn, idle_seconds=idle
    )


def find_or_create_thread(turn_request: TurnRequest) -> tuple[Conversation, bool]:
    """Find or create the conversation for a turn that follows an older one.

    Returns it with whether it is new. It is the same thread, locked, when the older turn is its
    last one; otherwise a branch is created. Raises UnknownUrl, InvalidRequest.
    """
    previous = find_previous_turn(turn_request)
    thread = Conversation.objects.select_for_update().filter(pk=previous.conversation_id).first()
    if thread is None:
        raise unknown_previous(turn_request)
    later = Turn.objects.filter(conversation=thread, number__gt=previous.number)
    if (
        thread.kind == ConversationKind.THREAD
        and not later.filter(status__in=(*HISTORY_STATUSES, *RUNNING_STATUSES)).exists()
    ):
        return thread, False  # later turns that failed do not count
    branch = create_conversation(turn_request, ConversationKind.THREAD, previous)
    branch.system_turn_id = context.find_instructing_turn(thread, previous.number)
    return branch, True


def find_by_conversation_id(
    turn_request: TurnRequest, own_conversations: QuerySet[Conversation]
) -> Conversation:
    """Return the conversation with OpenAI's id. Raises UnknownUrl."""
    with_id = own_conversations.filter(pk=turn_request.conversation_id)
    conversation = with_id.exclude(kind=ConversationKind.THREAD).first()
    if conversation is None:
        raise UnknownUrl(
            f"There is no conversation {turn_request.conversation_id[:64]!r}.",
            param="conversation",
            code="conversation_not_found",
        )
    return conversation


def find_continued_conversation(turn_request: TurnRequest) -> Conversation:
    """Return the conversation to continue, for reading.

    After an older turn it is an unsaved branch of that turn. Raises UnknownUrl, InvalidRequest.
    """
    if turn_request.conversation_id:
        return find_by_conversation_id(
            turn_request, Conversation.objects.of_user(turn_request.user_id)
        )
    previous = find_previous_turn(turn_request)
    system_turn_id = context.find_instructing_turn(previous.conversation, previous.number)
    return Conversation(
        user_id=turn_request.user_id,
        kind=ConversationKind.THREAD,
        base_turn=previous,
        system_turn_id=system_turn_id,
    )


def find_previous_turn(turn_request: TurnRequest) -> Turn:
    """Return the turn that the request follows.

    Raises UnknownUrl, and InvalidRequest when the turn is still running.
    """
    previous = find_stored_turn(turn_request.user_id, turn_request.previous_id)
    if previous is None:
        raise unknown_previous(turn_request)
    if show_present_status(previous).status in RUNNING_STATUSES:
        raise InvalidRequest(
            "The previous response has not ended yet.", param="previous_response_id"
        )
    return previous


def end_dead_previous_turn(turn_request: TurnRequest) -> None:
    """Write the end of the turn that the request follows, if its process has died."""
    if turn_request.previous_id:
        previous = find_stored_turn(turn_request.user_id, turn_request.previous_id)
        if previous is not None:
            end_dead_turns(Turn.objects.filter(pk=previous.pk))


def unknown_previous(turn_request: TurnRequest) -> UnknownUrl:
    return UnknownUrl(
        f"There is no response {turn_request.previous_id[:64]!r}.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def find_stored_turn(user_id: int, public_id: str) -> Turn | None:
    """Return a user's stored turn by its public id (resp_…, chatcmpl-…), or None."""
    for prefix, endpoint in TURN_ID_PREFIXES.items():
        if public_id.startswith(prefix):
            turn_id = parse_turn_id(public_id, prefix)
            if turn_id is None:
                return None
            own_conversations = Conversation.objects.of_user(user_id)
            turns = Turn.objects.filter(conversation__in=own_conversations)
            return turns.filter(pk=turn_id, endpoint=endpoint, stored=True).first()
    return None


def parse_turn_id(public_id: str, prefix: str) -> UUID | None:
    """Return the id of a turn from its public id, or None when it is not in its only form."""
    try:
        turn_id = UUID(hex=public_id.removeprefix(prefix))
    except ValueError:
        return None
    return turn_id if public_id == f"{prefix}{turn_id.hex}" else None
