"""Finish, delete and keep alive turns.

Each function is for a database thread; `write_turn_outcome` and `delete_turn` are one transaction
each. `start_turn.py` starts turns.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from conversations.files import storage_quota
from conversations.history import context
from conversations.messages import items
from conversations.messages.items import Entry, ItemLike
from conversations.models import (
    RUNNING_STATUSES,
    Conversation,
    Document,
    Item,
    Turn,
    TurnStatus,
    UpstreamChatDeletion,
)
from conversations.search import item_search
from conversations.text.token_estimate import ATTACHMENT_TOKENS, MESSAGE_TOKENS, estimate_tokens
from providers.database.database_threads import require_time_left
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import Resume

TITLE_CHARS = 80
ITEMS_PER_WRITE = 100  # items that are written between two looks at the clock


@dataclass(frozen=True, slots=True)
class TurnStart:
    """A turn whose row is in the database."""

    id: str
    conversation_id: str
    number: int
    is_new_conversation: bool  # its conversation was created for it
    created_at: int
    messages: list[dict[str, Any]]  # all messages for its upstream
    resume: Resume | None = None


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """The outcome of a turn.

    `chat` is its place at an upstream that keeps chats.
    """

    id: str
    conversation_id: str
    status: TurnStatus
    entries: Sequence[Entry] = ()
    finish_reason: str = ""
    usage: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    extra_fields: dict[str, Any] = field(default_factory=dict)
    thinking: dict[str, Any] = field(default_factory=dict)
    chat: Resume | None = None


class TurnLost(Exception):
    """The turn was taken for dead: another turn may have started since."""


# errors of one turn that no retry can cure
UNWRITABLE_ERRORS = (
    TurnLost,
    DataError,
    IntegrityError,
    TypeError,
    ValueError,
)


# --- finish ---------------------------------------------------------------------------------------
@transaction.atomic
def write_turn_outcome(outcome: TurnOutcome) -> None:
    """Write the outcome of a turn.

    When the conversation was deleted meanwhile, nothing is written but an UpstreamChatDeletion row,
    so that the chat at the upstream is deleted too. Raises TurnLost.
    """
    conversation = (
        Conversation.objects.select_for_update().filter(pk=outcome.conversation_id).first()
    )
    turn = Turn.objects.select_for_update().filter(pk=UUID(outcome.id)).first()
    if conversation is None or turn is None:
        if outcome.chat is not None:
            UpstreamChatDeletion.objects.create(
                token_id=outcome.chat.token_id, chat_id=outcome.chat.chat_id
            )
        return
    if turn.status not in RUNNING_STATUSES:
        raise TurnLost
    set_outcome(turn, outcome)
    turn.save()
    write_items(turn, outcome.entries, output=True)
    set_progress(conversation, turn, outcome)
    save_used_conversation(conversation, turn, ())


def set_outcome(turn: Turn, outcome: TurnOutcome) -> None:
    """Set the outcome of a turn on its row and end its lease, without saving the row.

    Also adds to the remembered size of the user's contents. `release_lease` is not used, because
    the statement that later saves the row also ends the lease.
    """
    turn.status = outcome.status
    turn.finish_reason = outcome.finish_reason[:32]
    turn.usage = outcome.usage
    turn.error = outcome.error
    turn.extra_fields = items.replace_unstorable(outcome.extra_fields)
    turn.thinking = items.replace_unstorable(outcome.thinking)
    turn.tokens += estimate_item_tokens(outcome.entries)
    # the events of a background turn are stored too
    size = storage_quota.estimate_items_bytes(outcome.entries) * (2 if turn.background else 1)
    size += storage_quota.json_size(turn.extra_fields) + storage_quota.json_size(turn.thinking)
    turn.stored_bytes += size
    storage_quota.add_bytes_on_commit(turn.user_id, size)
    turn.finished_at = timezone.now()
    turn.alive_until = None


def set_progress(conversation: Conversation, turn: Turn, outcome: TurnOutcome) -> None:
    """Set title and upstream chat of a conversation after a turn, without saving it."""
    chat = outcome.chat
    if outcome.status == TurnStatus.FAILED:
        undo_turn_effects(conversation, turn)
    else:
        conversation.title = conversation.title or make_title(turn)
    if chat is not None:
        conversation.token_id = chat.token_id
        conversation.chat_id = chat.chat_id
        conversation.parent_id = chat.parent_id
        conversation.chat_turn = turn.number


@transaction.atomic
def delete_turn(turn_start: TurnStart) -> None:
    """Delete a turn that was started and then refused, and its conversation if that was new."""
    conversation = (
        Conversation.objects.select_for_update().filter(pk=turn_start.conversation_id).first()
    )
    turn = Turn.objects.filter(pk=UUID(turn_start.id)).first()
    if conversation is None or turn is None:
        return
    if turn_start.is_new_conversation:
        conversation.delete()
        return
    undo_turn_effects(conversation, turn)
    conversation.save()
    turn.delete()


def undo_turn_effects(conversation: Conversation, turn: Turn) -> None:
    """Undo a failed turn's effect on the conversation, without saving it.

    The previous system message is in force again, and the upstream chat is marked as up to date.
    """
    if conversation.chat_turn == turn.number - 1:
        conversation.chat_turn = turn.number
    if conversation.system_turn_id == turn.pk:
        conversation.system_turn_id = context.find_instructing_turn(conversation, turn.number - 1)


def write_items(
    turn: Turn, entries: Sequence[Entry], *, output: bool, until: float = math.inf
) -> None:
    """Write a turn's items, and their words into the search index.

    Raises TooLate after `until`, a time of the monotonic clock.
    """
    rows = make_item_rows(turn, entries, output=output)
    for start in range(0, len(rows), ITEMS_PER_WRITE):
        require_time_left(until)
        write_item_rows(turn, rows[start : start + ITEMS_PER_WRITE])


def write_item_rows(turn: Turn, rows: list[Item]) -> None:
    """Write some items of a turn, and their words into the search index, one statement each."""
    item_search.add_items_to_index(turn.user_id, Item.objects.bulk_create(rows))


def make_item_rows(turn: Turn, entries: Sequence[Entry], *, output: bool) -> list[Item]:
    """Return a turn's items as unsaved rows."""
    hex_id = turn.pk.hex
    return [
        Item(
            public_id=items.make_public_id(entry.type, hex_id, place, output=output),
            conversation_id=turn.conversation_id,
            turn=turn,
            output=output,
            type=entry.type,
            role=entry.role,
            status=entry.status,
            text=entry.text,
            received_digest=entry.received_digest,
            data=entry.data,
            hidden_thinking=entry.hidden_thinking,
        )
        for place, entry in enumerate(entries)
    ]


def save_used_conversation(
    conversation: Conversation, turn: Turn, new_entries: Sequence[Entry]
) -> None:
    """Save the conversation as used now, with the turn's instructions if it has any."""
    set_last_use(conversation)
    if any(entry.role in SYSTEM_ROLES for entry in new_entries):
        conversation.system_turn = turn
    conversation.save()


def set_last_use(conversation: Conversation) -> None:
    """Set the last use and the expiry of a conversation from now, without saving it."""
    conversation.used_at = timezone.now()
    if conversation.idle_seconds:
        conversation.expires_at = conversation.used_at + timedelta(
            seconds=conversation.idle_seconds
        )


def make_title(turn: Turn) -> str:
    """Return the start of the turn's first user text, at most TITLE_CHARS characters."""
    asked = (
        turn.items.filter(role="user")
        .exclude(text="")
        .order_by("id")
        .values_list("text", flat=True)
        .first()
    )
    return " ".join((asked or "")[: 4 * TITLE_CHARS].split())[:TITLE_CHARS]


def estimate_item_tokens(entries: Iterable[ItemLike]) -> int:
    """Estimate the tokens of items as an upstream gets them: text, frame and attachments."""
    tokens = 0
    for entry in entries:
        tokens += MESSAGE_TOKENS + estimate_tokens(entry.text)
        tokens += ATTACHMENT_TOKENS * count_attachments(entry.data)
    return tokens


def count_attachments(data: dict[str, Any]) -> int:
    """Count the images, files and audio parts in an item's data."""
    parts = data.get("content")
    kinds = (part.get("type") for part in parts) if isinstance(parts, list) else ()
    return sum(kind in ("input_image", "input_file", "input_audio") for kind in kinds)


# --- running turns --------------------------------------------------------------------------------
def renew_leases(turn_ids: Sequence[str]) -> None:
    """Renew the leases of these turns: this process still works on them."""
    running = Turn.objects.filter_running().filter(pk__in=map(UUID, turn_ids))
    running.renew_lease("alive_until", settings.TURN_LEASE_SECONDS)


def list_turns_to_stop(turn_ids: Sequence[str]) -> list[str]:
    """Return those of the turns that a user asked to stop, or that are deleted."""
    there = dict(Turn.objects.filter(pk__in=map(UUID, turn_ids)).values_list("pk", "asked_to_stop"))
    return [turn_id for turn_id in turn_ids if there.get(UUID(turn_id), True)]


def add_document_links(conversation_id: str, document_ids: Sequence[str]) -> None:
    """Link the conversation to these documents: they are deleted with it."""
    conversation = Conversation.objects.filter(pk=conversation_id).first()
    if conversation is not None:
        conversation.documents.add(*Document.objects.filter(pk__in=document_ids).only("pk"))
