"""Where a request stands in the log: in a conversation by the client's own name or by OpenAI's id,
after an older response, or in a thread of its own. Nobody else may be there: a running turn whose
process is alive keeps others out.

Whose id it is decides, never the id alone: another user's and an unknown one are the same.
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
    """What a door says about a request that is to be remembered. `entries` may repeat the end of
    what was said before. At most one of `name`, `conversation_id` and `previous_id` is given;
    without them a thread begins.
    """

    request_id: str  # 32 hex digits
    user_id: int
    door: Door
    model: str
    entries: list[Entry]
    name: str = ""  # the client's own id of the conversation, which begins on first use
    conversation_id: str = ""  # conv_…
    previous_id: str = ""  # resp_… or chatcmpl-…
    stored: bool = False
    background: bool = False
    idle_seconds: int = 0  # a conversation that begins goes after so long without a turn; 0: never
    metadata: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    budget: int = 0  # tokens of the whole prompt


class Busy(Exception):
    """Another turn of the conversation is running."""


def place_of(asked: Asked) -> tuple[Conversation, bool]:
    """The conversation, locked, in which the turn is to stand, and whether it begins now."""
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
    """Where the turn after an older one stands: in the same thread when that was its last, else in
    a branch.
    """
    previous = previous_of(asked)
    thread = Conversation.objects.select_for_update().filter(pk=previous.conversation_id).first()
    if thread is None:
        raise unknown_previous(asked)
    later = Turn.objects.filter(conversation=thread, number__gt=previous.number)
    if thread.kind == Kind.THREAD and not later.filter(status__in=(*SAID, *RUNNING)).exists():
        return thread, False  # what only failed stands in nobody's way
    branch = started(asked, Kind.THREAD, previous)
    branch.system_id = context.instructed_by(thread, previous.number)
    return branch, True


def known(asked: Asked, mine: QuerySet[Conversation]) -> Conversation:
    """The conversation of OpenAI's id. Raises UnknownUrl."""
    found = mine.filter(pk=asked.conversation_id).exclude(kind=Kind.THREAD).first()
    if found is None:
        raise UnknownUrl(
            f"There is no conversation {asked.conversation_id[:64]!r}.",
            param="conversation",
            code="conversation_not_found",
        )
    return found


def behind(asked: Asked) -> Conversation:
    """What the request goes on with, to be read: after an older turn a branch that is no row.
    Raises UnknownUrl.
    """
    if asked.conversation_id:
        return known(asked, Conversation.objects.of(asked.user_id))
    previous = previous_of(asked)
    system_id = context.instructed_by(previous.conversation, previous.number)
    return Conversation(user_id=asked.user_id, kind=Kind.THREAD, base=previous, system_id=system_id)


def previous_of(asked: Asked) -> Turn:
    """The turn that the request follows. Raises UnknownUrl, InvalidRequest when it still runs."""
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
    """A user's stored turn by its public id (resp_…, chatcmpl-…)."""
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
    """The turn, ended if its process has died."""
    rows = Turn.objects.filter(pk=turn.pk)
    is_dead = turn.status in RUNNING and rows.filter(is_expired("alive_until")).exists()
    if is_dead and interrupt(rows):
        turn.refresh_from_db()
    return turn


def require_free(conversation: Conversation) -> None:
    """Raise Busy while another turn runs; one whose process is dead is ended."""
    running = Turn.objects.running().filter(conversation=conversation)
    if running.exists():
        if running.filter(is_held("alive_until")).exists():
            raise Busy
        interrupt(running)


def interrupt(turns: TurnQuerySet) -> int:
    """End those of the turns whose process is dead: what was asked stays, what came of it is not
    known. Of a queued one not even all that was asked was written: it has failed.
    """
    dead = turns.running().filter(is_expired("alive_until"))
    status = Case(
        When(status=TurnStatus.QUEUED, then=Value(TurnStatus.FAILED)),
        default=Value(TurnStatus.INCOMPLETE),
    )
    return dead.release_lease("alive_until", status=status, error=INTERRUPTED, finished_at=Now())
