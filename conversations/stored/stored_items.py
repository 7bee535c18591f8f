"""Find, add and delete the items of a conversation; no function here calls an upstream.

The items of a conversation are those that later turns include: the items of turns that were
completed or cut off.
"""

from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from conversations import retention
from conversations.files import storage_quota
from conversations.history import finish_turn
from conversations.history.dead_turns import (
    TurnRunning,
    end_dead_turns,
    require_no_running_turn,
)
from conversations.messages.items import Entry, ItemLike
from conversations.models import Conversation, EventBatch, Item, Turn, TurnEndpoint, TurnStatus
from conversations.models.log import is_in_history
from conversations.stored.unknown_ids import unknown_conversation, unknown_item
from providers.exceptions import ConversationBusy
from providers.protocol.message_text import SYSTEM_ROLES


def items_of(conversation: Conversation) -> QuerySet[Item]:
    return Item.objects.filter(is_in_history("turn"), conversation=conversation)


def find_item(conversation: Conversation, item_id: str) -> Item:
    """Return an item of the conversation by its public id. Raises UnknownUrl."""
    return find_item_among(items_of(conversation), item_id, "item_id")


def find_item_among(rows: QuerySet[Item], item_id: str, param: str) -> Item:
    """Return the item with this public id. Raises UnknownUrl, which names the field `param`."""
    item = rows.filter(public_id=item_id).first()
    if item is None:
        raise unknown_item(item_id, param)
    return item


@transaction.atomic
def add_items(conversation: Conversation, entries: Sequence[Entry]) -> list[Item]:
    """Write items at the end of a conversation, as one turn; return them.

    Raises ConversationBusy, UnknownUrl when the conversation is deleted, InvalidRequest when the
    user's storage is full.
    """
    locked = lock_free_conversation(conversation)
    locked.last_number += 1
    storable = [entry.make_storable() for entry in entries]
    size_bytes = storage_quota.estimate_items_bytes(storable)
    storage_quota.require_storage_room(locked.user_id, size_bytes)
    turn = Turn.objects.create(
        conversation=locked,
        user_id=locked.user_id,
        number=locked.last_number,
        endpoint=TurnEndpoint.ITEMS,
        status=TurnStatus.COMPLETED,
        tokens=estimate_turn_tokens(storable),
        stored_bytes=size_bytes,
        finished_at=timezone.now(),
    )
    finish_turn.write_items(turn, storable, output=False)
    storage_quota.add_bytes_on_commit(locked.user_id, size_bytes)
    locked.title = locked.title or finish_turn.make_title(turn)
    finish_turn.save_used_conversation(locked, turn, storable)
    return list(turn.items.order_by("id"))


@transaction.atomic
def delete_item(conversation: Conversation, item: Item) -> None:
    """Delete one item, and the stored steps and events of its turn.

    An upstream that keeps the conversation still has the item, so the next turn goes to a new chat.
    The title is cleared if it comes from the item. Raises ConversationBusy, UnknownUrl.
    """
    locked = lock_free_conversation(conversation)
    is_title_of_item = locked.title in " ".join(item.text.split())
    Conversation.objects.filter(pk=locked.pk).update(
        chat_id="",
        parent_id="",
        chat_turn=0,
        token_id=None,
        title="" if is_title_of_item else locked.title,
    )
    item.delete()
    transaction.on_commit(retention.purge_search_index)
    remaining_items = list(item.turn.items.all())
    Turn.objects.filter(pk=item.turn_id).update(
        tokens=estimate_turn_tokens(remaining_items),
        stored_bytes=storage_quota.estimate_items_bytes(remaining_items),
        thinking={},
        extra_fields={},
    )
    EventBatch.objects.filter(turn=item.turn_id).delete()
    if item.role in SYSTEM_ROLES:
        retention.remove_document_links(conversation)


def lock_free_conversation(conversation: Conversation) -> Conversation:
    """Lock and return the conversation, with no turn running; mark dead turns as ended.

    Raises ConversationBusy, UnknownUrl.
    """
    own = Conversation.objects.of_user(conversation.user_id)
    locked = own.select_for_update().filter(pk=conversation.pk).first()
    if locked is None:
        raise unknown_conversation(conversation.pk)
    end_dead_turns(Turn.objects.filter(conversation=locked))
    try:
        require_no_running_turn(locked)
    except TurnRunning:
        raise ConversationBusy(
            "Another request of this conversation is running.", retry_after_seconds=1
        ) from None
    return locked


def estimate_turn_tokens(entries: Iterable[ItemLike]) -> int:
    """Estimate the tokens of a turn's items, without its instructions."""
    return finish_turn.estimate_item_tokens(
        entry for entry in entries if entry.role not in SYSTEM_ROLES
    )
