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
from conversations.models import RUNNING, Conversation, Door, Kind, Turn, TurnStatus
from conversations.models.log import SAID, TurnQuerySet
from providers.database.leases import is_expired, is_held
from providers.exceptions import InvalidRequest, UnknownUrl

INTERRUPTED = {"code": "interrupted", "message": "The process that made this answer has ended."}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to be remembered, as its endpoint describes it.

    `entries` are the request's items; they may repeat the end of the history. At most one of
    `name`, `conversation_id` and `previous_id` is given. Without them a new thread starts.
    """

    request_id: str  # 32 hex digits
    user_id: int
    door: Door
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
    budget: int = 0  # tokens that the whole prompt may have


class Busy(Exception):
    """Another turn of the conversation is running."""


def place_of(asked: Asked) -> tuple[Conversation, bool]:
    """Find or create the conversation of a turn, lock it, and return it with whether it is new.

    An expired conversation of the same name is deleted first. Raises UnknownUrl, InvalidRequest.
    """
    mine = Conversation.objects.of(asked.user_id).select_for_update()
    if asked.name:
        found = mine.filter(name=asked.name).first()
        return (found, False) if found is not None else (begun_by_name(asked), True)
    if asked.conversation_id:
        return known(asked, mine), False
    if asked.previous_id:
        return after(asked)
    return started(asked, Kind.THREAD), True


def begun_by_name(asked: Asked) -> Conversation:
    retention.delete(Conversation.objects.filter(user_id=asked.user_id, name=asked.name).expired())
    return started(asked, Kind.NAMED)


def started(asked: Asked, kind: Kind, base: Turn | None = None) -> Conversation:
    idle = asked.idle_seconds or None
    name = asked.name if kind == Kind.NAMED else ""
    return Conversation.objects.create(
        user_id=asked.user_id, kind=kind, name=name, base=base, idle_seconds=idle
    )


def after(asked: Asked) -> tuple[Conversation, bool]:
    """Find or create the conversation for a turn that follows an older one.

    Returns it with whether it is new. It is the same thread, locked, when the older turn is its
    last one; otherwise a branch is created. Raises UnknownUrl, InvalidRequest.
    """
    previous = previous_of(asked)
    thread = Conversation.objects.select_for_update().filter(pk=previous.conversation_id).first()
    if thread is None:
        raise unknown_previous(asked)
    later = Turn.objects.filter(conversation=thread, number__gt=previous.number)
    if thread.kind == Kind.THREAD and not later.filter(status__in=(*SAID, *RUNNING)).exists():
        return thread, False  # later turns that failed do not count
    branch = started(asked, Kind.THREAD, previous)
    branch.system_id = context.instructed_by(thread, previous.number)
    return branch, True


def known(asked: Asked, mine: QuerySet[Conversation]) -> Conversation:
    """Return the conversation with OpenAI's id. Raises UnknownUrl."""
    found = mine.filter(pk=asked.conversation_id).exclude(kind=Kind.THREAD).first()
    if found is None:
        raise UnknownUrl(
            f"There is no conversation {asked.conversation_id[:64]!r}.",
            param="conversation",
            code="conversation_not_found",
        )
    return found


def behind(asked: Asked) -> Conversation:
    """Return the conversation to continue, for reading; mark a dead previous turn as ended.

    After an older turn it is an unsaved branch of that turn. Raises UnknownUrl, InvalidRequest.
    """
    if asked.conversation_id:
        return known(asked, Conversation.objects.of(asked.user_id))
    previous = previous_of(asked)
    system_id = context.instructed_by(previous.conversation, previous.number)
    return Conversation(user_id=asked.user_id, kind=Kind.THREAD, base=previous, system_id=system_id)


def previous_of(asked: Asked) -> Turn:
    """Return the turn that the request follows; mark it as ended if its process has died.

    Raises UnknownUrl, and InvalidRequest when the turn is still running.
    """
    previous = turn_of(asked.user_id, asked.previous_id)
    if previous is None:
        raise unknown_previous(asked)
    if as_it_stands(previous).status in RUNNING:
        raise InvalidRequest(
            "The previous response has not ended yet.", param="previous_response_id"
        )
    return previous


def unknown_previous(asked: Asked) -> UnknownUrl:
    return UnknownUrl(
        f"There is no response {asked.previous_id[:64]!r}.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def turn_of(user_id: int, public_id: str) -> Turn | None:
    """Return a user's stored turn by its public id (resp_…, chatcmpl-…), or None."""
    for prefix, door in (("resp_", Door.RESPONSE), ("chatcmpl-", Door.CHAT)):
        if public_id.startswith(prefix):
            try:
                key = UUID(hex=public_id.removeprefix(prefix))
            except ValueError:
                return None
            if public_id != f"{prefix}{key.hex}":
                return None
            mine = Turn.objects.filter(conversation__in=Conversation.objects.of(user_id))
            return mine.filter(pk=key, door=door, stored=True).first()
    return None


def as_it_stands(turn: Turn) -> Turn:
    """Return the turn with its present status; mark it as ended if its process has died."""
    rows = Turn.objects.filter(pk=turn.pk)
    is_dead = turn.status in RUNNING and rows.filter(is_expired("alive_until")).exists()
    if is_dead and interrupt(rows):
        turn.refresh_from_db()
    return turn


def require_free(conversation: Conversation) -> None:
    """Raise Busy while another turn runs; mark running turns of dead processes as ended."""
    running = Turn.objects.running().filter(conversation=conversation)
    if running.exists():
        if running.filter(is_held("alive_until")).exists():
            raise Busy
        interrupt(running)


def interrupt(turns: TurnQuerySet) -> int:
    """Mark those of the turns as ended whose process is dead; return how many there were.

    A running turn becomes incomplete: its items stay, its answer is not known. A queued turn
    becomes failed: not even all of its items were written.
    """
    dead = turns.running().filter(is_expired("alive_until"))
    status = Case(
        When(status=TurnStatus.QUEUED, then=Value(TurnStatus.FAILED)),
        default=Value(TurnStatus.INCOMPLETE),
    )
    return dead.release_lease("alive_until", status=status, error=INTERRUPTED, finished_at=Now())
