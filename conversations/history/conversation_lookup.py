"""Find the conversation that a turn belongs to, and lock it.

A request names its conversation by the client's own name, by OpenAI's id or by an older response
that it follows. Without any of these it starts a thread of its own. While a turn runs whose process
is alive, no other turn of the conversation may start.

Every lookup is limited to the user: another user's id and an unknown id give the same error.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Case, QuerySet, Value, When
from django.db.models.functions import Now

from conversations import retention
from conversations.history import context
from conversations.messages.items import Entry
from conversations.models import (
    RUNNING_STATUSES,
    Conversation,
    ConversationKind,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.models.log import HISTORY_STATUSES, TurnQuerySet
from providers.database.leases import is_expired, is_held
from providers.exceptions import InvalidRequest, UnknownUrl

INTERRUPTED_ERROR = {
    "code": "interrupted",
    "message": "The process that made this answer has ended.",
}


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A request to be remembered, as its endpoint describes it.

    `entries` are the request's items; they may repeat the end of the history. At most one of
    `name`, `conversation_id` and `previous_id` is given. Without them a new thread starts.
    """

    request_id: str  # 32 hex digits
    user_id: int
    endpoint: TurnEndpoint
    model: str
    entries: list[Entry]
    name: str = ""  # the client's own id; the first use creates the conversation
    conversation_id: str = ""  # conv_…
    previous_id: str = ""  # resp_… or chatcmpl-…
    stored: bool = False
    background: bool = False
    idle_seconds: int = 0  # a new conversation is deleted after so long; 0: never
    metadata: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    budget_tokens: int = 0  # tokens that the whole prompt may have


class TurnRunning(Exception):
    """Another turn of the conversation is running."""


def find_or_create_conversation(turn_request: TurnRequest) -> tuple[Conversation, bool]:
    """Find or create the conversation of a turn, lock it, and return it with whether it is new.

    An expired conversation of the same name is deleted first. Raises UnknownUrl, InvalidRequest.
    """
    mine = Conversation.objects.of_user(turn_request.user_id).select_for_update()
    if turn_request.name:
        found = mine.filter(name=turn_request.name).first()
        return (
            (found, False) if found is not None else (create_named_conversation(turn_request), True)
        )
    if turn_request.conversation_id:
        return find_by_conversation_id(turn_request, mine), False
    if turn_request.previous_id:
        return find_or_create_thread(turn_request)
    return create_conversation(turn_request, ConversationKind.THREAD), True


def create_named_conversation(turn_request: TurnRequest) -> Conversation:
    retention.delete_conversations(
        Conversation.objects.filter(user_id=turn_request.user_id, name=turn_request.name).expired()
    )
    return create_conversation(turn_request, ConversationKind.NAMED)


def create_conversation(
    turn_request: TurnRequest, kind: ConversationKind, base: Turn | None = None
) -> Conversation:
    idle = turn_request.idle_seconds or None
    name = turn_request.name if kind == ConversationKind.NAMED else ""
    return Conversation.objects.create(
        user_id=turn_request.user_id, kind=kind, name=name, base=base, idle_seconds=idle
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
    branch.system_id = context.find_instructing_turn(thread, previous.number)
    return branch, True


def find_by_conversation_id(
    turn_request: TurnRequest, own_conversations: QuerySet[Conversation]
) -> Conversation:
    """Return the conversation with OpenAI's id. Raises UnknownUrl."""
    found = (
        own_conversations.filter(pk=turn_request.conversation_id)
        .exclude(kind=ConversationKind.THREAD)
        .first()
    )
    if found is None:
        raise UnknownUrl(
            f"There is no conversation {turn_request.conversation_id[:64]!r}.",
            param="conversation",
            code="conversation_not_found",
        )
    return found


def find_continued_conversation(turn_request: TurnRequest) -> Conversation:
    """Return the conversation to continue, for reading; mark a dead previous turn as ended.

    After an older turn it is an unsaved branch of that turn. Raises UnknownUrl, InvalidRequest.
    """
    if turn_request.conversation_id:
        return find_by_conversation_id(
            turn_request, Conversation.objects.of_user(turn_request.user_id)
        )
    previous = find_previous_turn(turn_request)
    system_id = context.find_instructing_turn(previous.conversation, previous.number)
    return Conversation(
        user_id=turn_request.user_id,
        kind=ConversationKind.THREAD,
        base=previous,
        system_id=system_id,
    )


def find_previous_turn(turn_request: TurnRequest) -> Turn:
    """Return the turn that the request follows; mark it as ended if its process has died.

    Raises UnknownUrl, and InvalidRequest when the turn is still running.
    """
    previous = find_stored_turn(turn_request.user_id, turn_request.previous_id)
    if previous is None:
        raise unknown_previous(turn_request)
    if mark_turn_if_dead(previous).status in RUNNING_STATUSES:
        raise InvalidRequest(
            "The previous response has not ended yet.", param="previous_response_id"
        )
    return previous


def unknown_previous(turn_request: TurnRequest) -> UnknownUrl:
    return UnknownUrl(
        f"There is no response {turn_request.previous_id[:64]!r}.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def find_stored_turn(user_id: int, public_id: str) -> Turn | None:
    """Return a user's stored turn by its public id (resp_…, chatcmpl-…), or None."""
    for prefix, door in (("resp_", TurnEndpoint.RESPONSE), ("chatcmpl-", TurnEndpoint.CHAT)):
        if public_id.startswith(prefix):
            try:
                key = UUID(hex=public_id.removeprefix(prefix))
            except ValueError:
                return None
            if public_id != f"{prefix}{key.hex}":
                return None
            mine = Turn.objects.filter(conversation__in=Conversation.objects.of_user(user_id))
            return mine.filter(pk=key, door=door, stored=True).first()
    return None


def mark_turn_if_dead(turn: Turn) -> Turn:
    """Return the turn with its present status; mark it as ended if its process has died."""
    rows = Turn.objects.filter(pk=turn.pk)
    is_dead = turn.status in RUNNING_STATUSES and rows.filter(is_expired("alive_until")).exists()
    if is_dead and mark_dead_turns(rows):
        turn.refresh_from_db()
    return turn


def require_no_running_turn(conversation: Conversation) -> None:
    """Raise Busy while another turn runs; mark running turns of dead processes as ended."""
    running = Turn.objects.running().filter(conversation=conversation)
    if running.exists():
        if running.filter(is_held("alive_until")).exists():
            raise TurnRunning
        mark_dead_turns(running)


def mark_dead_turns(turns: TurnQuerySet) -> int:
    """Mark those of the turns as ended whose process is dead; return how many there were.

    A running turn becomes incomplete: its items stay, its answer is not known. A queued turn
    becomes failed: not even all of its items were written.
    """
    dead = turns.running().filter(is_expired("alive_until"))
    status = Case(
        When(status=TurnStatus.QUEUED, then=Value(TurnStatus.FAILED)),
        default=Value(TurnStatus.INCOMPLETE),
    )
    return dead.release_lease(
        "alive_until", status=status, error=INTERRUPTED_ERROR, finished_at=Now()
    )
