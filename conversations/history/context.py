"""Load the context of a turn: the newest whole turns that fit a budget, and the instructions.

Turns are counted a page at a time, and only the items of turns that fit are read, so a long
conversation costs no more than a short one. A branch continues with the history up to its base.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from django.db.models import QuerySet
from msgspec import Struct

from conversations.messages.items import SERVER_ITEM_TYPES
from conversations.models import Conversation, Item, Turn
from conversations.models.log import is_in_history
from conversations.text.token_estimate import estimate_tokens
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES

TURNS_PER_PAGE = 100  # turns that one query reads
MAX_TURNS = 2_000  # turns at most, even if more would fit
# items that a chat client never repeats
UNCOMPARED_TYPES = ("reasoning", *SERVER_ITEM_TYPES)


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
    received_digest: str
    data: JsonObject
    hidden_thinking: str | None = None


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
    conversation: Conversation,
    room_tokens: int,
    *,
    own_system_tokens: int = 0,
    min_turns: int = 0,
    last_number: int | None = None,
) -> EarlierItems:
    """Return the earlier turns that fit into `room_tokens` tokens, but at least `min_turns` turns.

    Instructions take room too: those in force, or the request's own (`own_system_tokens` tokens).
    Long ones take at most half of the room; they are shortened to the rest later. Turns after
    number `last_number` are left out.
    """
    if not conversation.last_number and conversation.base_turn_id is None:
        return EarlierItems()
    earlier = EarlierItems(system=load_instructions(conversation))
    system_tokens = own_system_tokens or sum(estimate_tokens(row.text) for row in earlier.system)
    room_tokens -= min(system_tokens, max(0, room_tokens) // 2)
    turns = iterate_newest_turns(conversation, last_number)
    turn_ids = list(find_fitting_turns(turns, room_tokens, min_turns))
    if not turn_ids:
        return earlier
    rows = read_item_rows(Item.objects.filter(turn_id__in=turn_ids).order_by("id"))
    earlier.items = [row for row in rows if row.role not in SYSTEM_ROLES]
    if earlier.items and not earlier.items[-1].output:
        last_turn_id = earlier.items[-1].turn_id
        earlier.unanswered = [row for row in earlier.items if row.turn_id == last_turn_id]
    return earlier


def load_instructions(conversation: Conversation) -> list[ItemRow]:
    """Return the system messages in force: those of the latest turn that had any."""
    if conversation.system_turn_id is None:
        return []
    return read_item_rows(
        Item.objects.filter(turn_id=conversation.system_turn_id, role__in=SYSTEM_ROLES).order_by(
            "id"
        )
    )


def find_instructing_turn(conversation: Conversation, last_number: int) -> UUID | None:
    """Return the turn whose instructions were in force at turn number `last_number`, or None.

    It is that turn or an older one, in this conversation or in one that it branched off from.
    """
    while True:
        instructions = select_history_items(conversation).filter(
            turn__number__lte=last_number, role__in=SYSTEM_ROLES
        )
        turn_id = instructions.order_by("-id").values_list("turn_id", flat=True).first()
        base = find_base_turn(conversation) if turn_id is None else None
        if base is None:
            return turn_id
        conversation = base.conversation
        last_number = base.number


def select_history_items(conversation: Conversation) -> QuerySet[Item]:
    """Return the items of the conversation that later turns include."""
    return Item.objects.filter(is_in_history("turn"), conversation=conversation)


def load_last_and_first(
    conversation: Conversation, count: int
) -> tuple[list[ItemRow], list[ItemRow]]:
    """Return up to `count` of the last and of the first items, each list in conversation order.

    Instructions, reasoning and what the gateway's own tools did are left out.
    """
    history = select_history_items(conversation)
    compared = history.exclude(role__in=SYSTEM_ROLES).exclude(type__in=UNCOMPARED_TYPES)
    last = read_item_rows(compared.order_by("-id")[:count])[::-1]
    first = read_item_rows(compared.order_by("id")[:count])
    return last, first


def find_base_turn(conversation: Conversation) -> Turn | None:
    """Return the turn after which the conversation branched off, with its conversation, or None."""
    if conversation.base_turn_id is None:
        return None
    return Turn.objects.select_related("conversation").filter(pk=conversation.base_turn_id).first()


def find_fitting_turns(
    turns: Iterable[tuple[UUID, int]], room_tokens: int, min_turns: int
) -> Iterator[UUID]:
    """Yield the ids of the first turns that fit into `room_tokens` tokens.

    `turns` are (id, tokens), the newest first.
    """
    for number, (turn_id, tokens) in enumerate(islice(turns, MAX_TURNS)):
        room_tokens -= tokens
        if room_tokens < 0 and number >= min_turns:
            return
        yield turn_id


def iterate_newest_turns(
    conversation: Conversation, last_number: int | None = None
) -> Iterator[tuple[UUID, int]]:
    """Yield (id, tokens) of the turns to include, newest first, through all branches.

    Turns of this conversation after number `last_number` are left out.
    """
    number = conversation.last_number if last_number is None else last_number
    while True:
        yield from iterate_turn_pages(conversation, number)
        base = find_base_turn(conversation)
        if base is None:
            return
        conversation = base.conversation
        number = base.number


def iterate_turn_pages(conversation: Conversation, number: int) -> Iterator[tuple[UUID, int]]:
    """Yield (id, tokens) of one conversation's turns up to this number, newest first."""
    turns = Turn.objects.filter(is_in_history(), conversation=conversation).order_by("-number")
    below = number + 1
    while True:
        older = turns.filter(number__lt=below)
        page = list(older.values_list("pk", "tokens", "number")[:TURNS_PER_PAGE])
        yield from ((turn_id, tokens) for turn_id, tokens, _ in page)
        if len(page) < TURNS_PER_PAGE:
            return
        below = page[-1][2]
