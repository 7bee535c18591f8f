"""Save a turn that starts: its row, its items, and the turns that it replaces.

A turn of more than ITEMS_PER_WRITE items is saved in several transactions, so that other writers
are not held up.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from conversations.files import storage_quota
from conversations.history import finish_turn
from conversations.history.finish_turn import (
    TurnStart,
    estimate_item_tokens,
    make_item_rows,
    save_used_conversation,
    write_item_rows,
    write_items,
)
from conversations.history.turn_request import TurnRequest, exclude_instructions
from conversations.messages import items
from conversations.messages.items import Entry
from conversations.models import Conversation, Turn, TurnStatus
from providers.database.database_threads import limit_transaction
from providers.database.leases import time_from_now
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES

# pause between two parts of a long request, so that the event loop gets the interpreter
PAUSE_SECONDS = 0.005


@dataclass(slots=True)
class TurnDraft:
    """The content of a turn before anything of it is written.

    `entries` are the items to store and `messages` all messages for the upstream. `replaced_ids`
    are the turns that this one replaces in later prompts. `adds_to_upstream_chat`: an upstream that
    keeps the conversation needs only the new messages.
    """

    entries: list[Entry]
    messages: list[JsonObject]
    replaced_ids: list[UUID] = field(default_factory=list)
    adds_to_upstream_chat: bool = False

    @property
    def fits_one_write(self) -> bool:
        return len(self.entries) <= finish_turn.ITEMS_PER_WRITE


class CreatedTurn(NamedTuple):
    """A turn whose row is written, with everything that a queued one still has to write."""

    turn_start: TurnStart
    turn: Turn
    draft: TurnDraft


def save_turn(
    conversation: Conversation, turn_request: TurnRequest, draft: TurnDraft, until: float
) -> Turn:
    """Save the turn, the conversation and, if there are few, the turn's items.

    Raises InvalidRequest when the user has no room for more contents, and TooLate.
    """
    size = storage_quota.estimate_items_bytes(draft.entries)
    size += storage_quota.json_size(turn_request.settings)
    storage_quota.require_storage_room(turn_request.user_id, size)
    conversation.last_number += 1
    turn = Turn.objects.create(
        id=UUID(turn_request.request_id),
        conversation=conversation,
        user_id=turn_request.user_id,
        number=conversation.last_number,
        endpoint=turn_request.endpoint,
        status=TurnStatus.IN_PROGRESS if draft.fits_one_write else TurnStatus.QUEUED,
        model=turn_request.model,
        stored=turn_request.stored,
        background=turn_request.background,
        metadata=turn_request.metadata,
        settings=items.replace_unstorable(turn_request.settings),
        tokens=estimate_item_tokens(exclude_instructions(draft.entries)),
        stored_bytes=size,
        alive_until=time_from_now(settings.TURN_LEASE_SECONDS),
    )
    storage_quota.add_bytes_on_commit(turn_request.user_id, size)
    if draft.fits_one_write:
        write_items(turn, draft.entries, output=False, until=until)
        mark_replaced(draft.replaced_ids)
        save_used_conversation(conversation, turn, draft.entries)
    else:
        save_used_conversation(conversation, turn, ())
    return turn


def write_remaining_items(created: CreatedTurn, until: float) -> None:
    """Write the items of a queued turn in several transactions, then mark it as in progress.

    When the conversation is deleted meanwhile, the remaining items are not written. Raises TooLate.
    """
    turn = created.turn
    rows = make_item_rows(turn, created.draft.entries, output=False)
    try:
        for start in range(0, len(rows), finish_turn.ITEMS_PER_WRITE):
            with transaction.atomic():
                limit_transaction(until)
                write_item_rows(turn, rows[start : start + finish_turn.ITEMS_PER_WRITE])
            time.sleep(PAUSE_SECONDS)
        with transaction.atomic():
            limit_transaction(until)
            mark_in_progress(created)
    except IntegrityError:
        if Turn.objects.filter(pk=turn.pk).exists():
            raise


def mark_in_progress(created: CreatedTurn) -> None:
    """Mark a queued turn as in progress: it replaces turns, and its instructions are in force."""
    turn = created.turn
    queued = Turn.objects.filter(pk=turn.pk, status=TurnStatus.QUEUED)
    queued.update(status=TurnStatus.IN_PROGRESS)
    mark_replaced(created.draft.replaced_ids)
    if any(entry.role in SYSTEM_ROLES for entry in created.draft.entries):
        Conversation.objects.filter(pk=turn.conversation_id).update(system_turn=turn)


def mark_replaced(turn_ids: Sequence[UUID]) -> None:
    """Mark turns as replaced: later turns leave them out of their prompts."""
    if turn_ids:
        Turn.objects.filter(pk__in=turn_ids).update(is_replaced=True)
