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
from conversations.models.log import is_in_history
from conversations.text.token_estimate import estimate_tokens
from providers.protocol.message_text import SYSTEM_ROLES

TURNS_PER_PAGE = 100  # turns that one query reads
MAX_TURNS = 2_000  # turns at most, even if more would fit


class ItemRow(Struct):
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


def read_item_rows(rows: QuerySet[Item]) -> list[ItemRow]:
    return [ItemRow(*row) for row in rows.values_list(*ItemRow.__struct_fields__)]


@dataclass(slots=True)
class EarlierItems:
    """The earlier items of a conversation.

    `items` are those without instructions, `system` are the instructions. `unanswered` are the last
    of `items` when they never got an answer.
    """

    items: list[ItemRow] = field(default_factory=list)
    system: list[ItemRow] = field(default_factory=list)
    unanswered: list[ItemRow] = field(default_factory=list)


def load_context(
    conversation: Conversation, room_tokens: int, *, own_system_tokens: int = 0, min_turns: int = 0
) -> EarlierItems:
    """Return the earlier turns that fit into `room_tokens` tokens, but at least `min_turns` turns.

    Instructions take room too: those in force, or the request's own (`own_system_tokens` tokens).
    Long ones take at most half of the room; they are shortened to the rest later.
    """
    if not conversation.last and conversation.base_id is None:
        return EarlierItems()
    told = EarlierItems(system=load_instructions(conversation))
    instructed = own_system_tokens or sum(estimate_tokens(item.text) for item in told.system)
    room_tokens -= min(instructed, max(0, room_tokens) // 2)
    ids = list(find_fitting_turns(conversation, room_tokens, min_turns))
    if not ids:
        return told
    said = read_item_rows(Item.objects.filter(turn_id__in=ids).order_by("id"))
    told.items = [line for line in said if line.role not in SYSTEM_ROLES]
    if told.items and not told.items[-1].output:
        last = told.items[-1].turn_id
        told.unanswered = [item for item in told.items if item.turn_id == last]
    return told


def load_instructions(conversation: Conversation) -> list[ItemRow]:
    """Return the system messages in force: those of the latest turn that had any."""
    if conversation.system_id is None:
        return []
    return read_item_rows(
        Item.objects.filter(turn_id=conversation.system_id, role__in=SYSTEM_ROLES).order_by("id")
    )


def find_instructing_turn(conversation: Conversation, last_number: int) -> UUID | None:
    """Return the turn whose instructions were in force at turn number `last_number`, or None.

    It is that turn or an older one, in this conversation or in one that it branched off from.
    """
    at: Conversation | None = conversation
    while at is not None:
        said = select_history_items(at).filter(turn__number__lte=last_number, role__in=SYSTEM_ROLES)
        if (found := said.order_by("-id").values_list("turn_id", flat=True).first()) is not None:
            return found
        base = find_base_turn(at)
        at, last_number = (base.conversation, base.number) if base is not None else (None, 0)
    return None


def select_history_items(conversation: Conversation) -> QuerySet[Item]:
    """Return the items of the conversation that later turns include."""
    return Item.objects.filter(is_in_history("turn"), conversation=conversation)


def load_last_and_first(
    conversation: Conversation, count: int
) -> tuple[list[ItemRow], list[ItemRow]]:
    """Return up to `count` of the last and of the first items, each list in conversation order.

    Instructions and reasoning are left out.
    """
    said = (
        select_history_items(conversation).exclude(role__in=SYSTEM_ROLES).exclude(type="reasoning")
    )
    return read_item_rows(said.order_by("-id")[:count])[::-1], read_item_rows(
        said.order_by("id")[:count]
    )


def find_base_turn(conversation: Conversation) -> Turn | None:
    """Return the turn after which the conversation branched off, with its conversation, or None."""
    if conversation.base_id is None:
        return None
    return Turn.objects.select_related("conversation").filter(pk=conversation.base_id).first()


def find_fitting_turns(
    conversation: Conversation, room_tokens: int, min_turns: int
) -> Iterator[UUID]:
    """Yield the ids of the newest turns that fit into `room_tokens` tokens, newest first."""
    for number, (turn_id, size) in enumerate(islice(iterate_newest_turns(conversation), MAX_TURNS)):
        room_tokens -= size
        if room_tokens < 0 and number >= min_turns:
            return
        yield turn_id


def iterate_newest_turns(conversation: Conversation) -> Iterator[tuple[UUID, int]]:
    """Yield (id, tokens) of the turns to include, newest first, through all branches."""
    at = conversation
    below = conversation.last + 1
    while True:
        said = Turn.objects.filter(is_in_history(), conversation=at).order_by("-number")
        while page := list(
            said.filter(number__lt=below).values_list("pk", "tokens", "number")[:TURNS_PER_PAGE]
        ):
            yield from ((turn_id, size) for turn_id, size, _ in page)
            below = page[-1][2]
            if len(page) < TURNS_PER_PAGE:
                break
        base = find_base_turn(at)
        if base is None:
            return
        at = base.conversation
        below = base.number + 1
