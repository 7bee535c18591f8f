"""Turns whose process has died: end them, or show them as ended.

A running turn has a lease that its process renews. When the lease has expired, the process is dead.
"""

from django.db.models import Case, Value, When
from django.db.models.functions import Now

from conversations.models import RUNNING_STATUSES, Conversation, Turn, TurnStatus
from conversations.models.log import TurnQuerySet
from providers.database.leases import is_expired, is_held

INTERRUPTED_ERROR = {
    "code": "interrupted",
    "message": "The process that made this answer has ended.",
}


class TurnRunning(Exception):
    """Another turn of the conversation is running."""


def end_dead_turns(turns: TurnQuerySet) -> int:
    """Write the end of those of the turns whose process is dead; return how many there were.

    A running turn becomes incomplete: its items stay, its answer is not known. A queued turn
    becomes failed: not even all of its items were written.
    """
    dead = turns.filter_running().filter(is_expired("alive_until"))
    status = Case(
        When(status=TurnStatus.QUEUED, then=Value(TurnStatus.FAILED)),
        default=Value(TurnStatus.INCOMPLETE),
    )
    return dead.release_lease(
        "alive_until", status=status, error=INTERRUPTED_ERROR, finished_at=Now()
    )


def end_all_dead_turns() -> int:
    """Write the end of all turns whose process is dead; return how many there were."""
    return end_dead_turns(Turn.objects.all())


def show_present_status(turn: Turn) -> Turn:
    """Show a turn whose process is dead as ended, as `end_dead_turns` will; write nothing."""
    if is_dead(turn):
        is_queued = turn.status == TurnStatus.QUEUED
        turn.status = TurnStatus.FAILED if is_queued else TurnStatus.INCOMPLETE
        turn.error = INTERRUPTED_ERROR
    return turn


def is_dead(turn: Turn) -> bool:
    """Return whether the turn still counts as running although its process is dead."""
    if turn.status not in RUNNING_STATUSES:
        return False
    return Turn.objects.filter_running().filter(is_expired("alive_until"), pk=turn.pk).exists()


def require_no_running_turn(conversation: Conversation) -> None:
    """Raise TurnRunning while another turn of a living process runs."""
    running = Turn.objects.filter_running().filter(conversation=conversation)
    if running.filter(is_held("alive_until")).exists():
        raise TurnRunning
