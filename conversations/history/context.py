"""Load the context of a turn: the newest whole turns that fit a budget, and the instructions.

Turns are counted a page at a time, and only the items of turns that fit are read, so a long
conversation costs no more than a short one. A branch continues with the history up to its base.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from msgspec import Struct

from conversations.models import Conversation, Item, Turn
from conversations.models.log import told_of
from conversations.text.token_estimate import estimate_tokens
from providers.protocol.message_text import SYSTEM_ROLES

PAGE = 100  # turns that one query reads
LONGEST = 2_000  # turns at most, even if more would fit


class Line(Struct):
    """One stored item as it is sent again.

    It has only the needed columns of the row, at a quarter of the cost of a model instance.
    """

    turn_id: UUID
    output: bool
    type: str
    role: str
    status: str
    text: str
    told: str
    data: dict[str, Any]


def lines(rows: QuerySet[Item]) -> list[Line]:
    return [Line(*row) for row in rows.values_list(*Line.__struct_fields__)]


@dataclass(slots=True)
class Earlier:
    """The earlier items of a conversation.

    `items` are those without instructions, `system` are the instructions. `unanswered` are the last
    of `items` when they never got an answer.
    """

    items: list[Line] = field(default_factory=list)
    system: list[Line] = field(default_factory=list)
    unanswered: list[Line] = field(default_factory=list)


def read(conversation: Conversation, room: int, *, own_system: int = 0, least: int = 0) -> Earlier:
    """Return the earlier turns that fit into `room` tokens, but at least `least` turns.

    Instructions take room too: those in force, or the request's own (`own_system` tokens). Long
    ones take at most half of the room; they are shortened to the rest later.
    """
    if not conversation.last and conversation.base_id is None:
        return Earlier()
    told = Earlier(system=instructions(conversation))
    instructed = own_system or sum(estimate_tokens(item.text) for item in told.system)
    room -= min(instructed, max(0, room) // 2)
    ids = list(fitting(conversation, room, least))
    if not ids:
        return told
    said = lines(Item.objects.filter(turn_id__in=ids).order_by("id"))
    told.items = [line for line in said if line.role not in SYSTEM_ROLES]
    if told.items and not told.items[-1].output:
        last = told.items[-1].turn_id
        told.unanswered = [item for item in told.items if item.turn_id == last]
    return told


def instructions(conversation: Conversation) -> list[Line]:
    """Return the system messages in force: those of the latest turn that had any."""
    if conversation.system_id is None:
        return []
    return lines(
        Item.objects.filter(turn_id=conversation.system_id, role__in=SYSTEM_ROLES).order_by("id")
    )


def instructed_by(conversation: Conversation, upto: int) -> UUID | None:
    """Return the turn whose instructions were in force at turn number `upto`, or None.

    It is that turn or an older one, in this conversation or in one that it branched off from.
    """
    at: Conversation | None = conversation
    while at is not None:
        said = spoken(at).filter(turn__number__lte=upto, role__in=SYSTEM_ROLES)
        if (found := said.order_by("-id").values_list("turn_id", flat=True).first()) is not None:
            return found
        base = base_of(at)
        at, upto = (base.conversation, base.number) if base is not None else (None, 0)
    return None


def spoken(conversation: Conversation) -> QuerySet[Item]:
    """Return the items of the conversation that later turns include."""
    return Item.objects.filter(told_of("turn"), conversation=conversation)


def last_and_first(conversation: Conversation, count: int) -> tuple[list[Line], list[Line]]:
    """Return up to `count` of the last and of the first items, each list in conversation order.

    Instructions and reasoning are left out.
    """
    said = spoken(conversation).exclude(role__in=SYSTEM_ROLES).exclude(type="reasoning")
    return lines(said.order_by("-id")[:count])[::-1], lines(said.order_by("id")[:count])


def base_of(conversation: Conversation) -> Turn | None:
    """Return the turn after which the conversation branched off, with its conversation, or None."""
    if conversation.base_id is None:
        return None
    return Turn.objects.select_related("conversation").filter(pk=conversation.base_id).first()


def fitting(conversation: Conversation, room: int, least: int) -> Iterator[UUID]:
    """Yield the ids of the newest turns that fit together into `room` tokens, newest first."""
    for number, (turn_id, size) in enumerate(islice(newest(conversation), LONGEST)):
        room -= size
        if room < 0 and number >= least:
            return
        yield turn_id


def newest(conversation: Conversation) -> Iterator[tuple[UUID, int]]:
    """Yield (id, tokens) of the turns to include, newest first, through all branches."""
    at = conversation
    below = conversation.last + 1
    while True:
        said = Turn.objects.filter(told_of(), conversation=at).order_by("-number")
        while page := list(
            said.filter(number__lt=below).values_list("pk", "tokens", "number")[:PAGE]
        ):
            yield from ((turn_id, size) for turn_id, size, _ in page)
            below = page[-1][2]
            if len(page) < PAGE:
                break
        base = base_of(at)
        if base is None:
            return
        at = base.conversation
        below = base.number + 1
