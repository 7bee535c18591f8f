"""What was said before: the newest turns of a conversation that fit into a budget, whole, and its instructions.

Only turns are counted, a page at a time, and only items of those that fit are read: the thousandth turn costs what the
tenth does. A thread that branches off an older turn goes on with what was said up to there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from django.db.models import Q

from conversations.items import SYSTEM
from conversations.models import Conversation, Item, Turn
from conversations.models.log import SAID
from conversations.usage import tokens

PAGE = 100  # turns looked at with one query
LONGEST = 2_000  # turns told at most, whatever fits


@dataclass(slots=True)
class Earlier:
    """`items`: without those of the system. `unanswered`: the last ones of them, when no answer to them ever came."""

    items: list[Item] = field(default_factory=list)
    system: list[Item] = field(default_factory=list)
    unanswered: list[Item] = field(default_factory=list)


def read(conversation: Conversation, room: int, *, own_system: bool) -> Earlier:
    """What is told of earlier turns in `room` tokens. The instructions take room too, unless the request has its
    `own_system`; long ones leave half of it to the turns: they are fitted into the rest later.
    """
    if not conversation.last and conversation.base_id is None:
        return Earlier()
    told = Earlier(system=instructions(conversation))
    if not own_system:
        room -= min(sum(tokens(item.text) for item in told.system), room // 2)
    ids = list(fitting(conversation, room))
    if not ids:
        return told
    rows = Item.objects.filter(turn_id__in=ids).order_by("id").defer("created_at")
    told.items = [item for item in rows if item.role not in SYSTEM]
    if told.items and not told.items[-1].output:
        last = told.items[-1].turn_id
        told.unanswered = [item for item in told.items if item.turn_id == last]
    return told


def instructions(conversation: Conversation) -> list[Item]:
    """The system messages in force: those of the latest turn that had some, here or before the branch."""
    at: Conversation | None = conversation
    while at is not None and at.system_id is None:
        at = at.base.conversation if at.base is not None else None
    if at is None or at.system_id is None:
        return []
    return list(Item.objects.filter(turn_id=at.system_id, role__in=SYSTEM).order_by("id"))


def fitting(conversation: Conversation, room: int) -> Iterator[UUID]:
    """Ids of the newest turns that fit together, newest first."""
    for turn_id, size in islice(newest(conversation), LONGEST):
        room -= size
        if room < 0:
            return
        yield turn_id


def newest(conversation: Conversation) -> Iterator[tuple[UUID, int]]:
    """(id, tokens) of what was said, newest first, through all branches."""
    at, below = conversation, conversation.last + 1
    while True:
        said = Turn.objects.filter(conversation=at).filter(Q(status__in=SAID)).order_by("-number")
        while page := list(said.filter(number__lt=below).values_list("pk", "tokens", "number")[:PAGE]):
            yield from ((turn_id, size) for turn_id, size, _ in page)
            below = page[-1][2]
            if len(page) < PAGE:
                break
        base = at.base
        if base is None:
            return
        at, below = base.conversation, base.number + 1
