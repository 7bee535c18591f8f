"""Finish, drop and keep alive turns, and end those of dead processes.

Each function is for a database thread; `finish` and `drop` are one transaction each.
`start_turn.py` starts turns.
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
from conversations.history.conversation_lookup import interrupt
from conversations.messages import items
from conversations.messages.items import Entry, Said
from conversations.models import RUNNING, Conversation, Document, Farewell, Item, Turn, TurnStatus
from conversations.search import item_search
from conversations.text.token_estimate import ATTACHMENT_TOKENS, MESSAGE_TOKENS, estimate_tokens
from providers.database.database_threads import require_time
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import Resume

TITLE_CHARS = 80
PUT_AT_ONCE = 100  # items that are written between two looks at the clock


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn whose row is in the database."""

    id: str
    conversation_id: str
    number: int
    begins: bool  # its conversation was created for it
    created_at: int
    messages: list[dict[str, Any]]  # all messages for its upstream
    resume: Resume | None = None


@dataclass(frozen=True, slots=True)
class Finished:
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
    extras: dict[str, Any] = field(default_factory=dict)
    thought: dict[str, Any] = field(default_factory=dict)
    chat: Resume | None = None


class Lost(Exception):
    """The turn was taken for dead: another turn may have started since."""


# errors of one turn that no retry can cure
UNWRITABLE = (
    Lost,
    DataError,
    IntegrityError,
    TypeError,
    ValueError,
)


# --- finish ---------------------------------------------------------------------------------------
@transaction.atomic
def finish(finished: Finished) -> None:
    """Write the outcome of a turn.

    When the conversation was deleted meanwhile, nothing is written but a Farewell row, so that the
    chat at the upstream is deleted too. Raises Lost.
    """
    conversation = (
        Conversation.objects.select_for_update().filter(pk=finished.conversation_id).first()
    )
    turn = Turn.objects.select_for_update().filter(pk=UUID(finished.id)).first()
    if conversation is None or turn is None:
        if finished.chat is not None:
            Farewell.objects.create(token_id=finished.chat.token_id, chat_id=finished.chat.chat_id)
        return
    if turn.status not in RUNNING:
        raise Lost
    set_outcome(turn, finished)
    turn.save()
    put(turn, finished.entries, output=True)
    set_progress(conversation, turn, finished)
    touch(conversation, turn, ())


def set_outcome(turn: Turn, finished: Finished) -> None:
    """Set the outcome of a turn on its row and end its lease, without saving the row.

    Also adds to the remembered size of the user's contents. `release_lease` is not used, because
    the statement that later saves the row also ends the lease.
    """
    turn.status = finished.status
    turn.finish_reason = finished.finish_reason[:32]
    turn.usage, turn.error, turn.extras = (
        finished.usage,
        finished.error,
        items.storable(finished.extras),
    )
    turn.thought = items.storable(finished.thought)
    turn.tokens += estimate_item_tokens(finished.entries)
    # the events of a background turn are stored too
    size = storage_quota.size_of(finished.entries) * (2 if turn.background else 1)
    size += storage_quota.json_size(turn.extras) + storage_quota.json_size(turn.thought)
    turn.stored_bytes += size
    storage_quota.add_on_commit(turn.user_id, size)
    turn.finished_at = timezone.now()
    turn.alive_until = None


def set_progress(conversation: Conversation, turn: Turn, finished: Finished) -> None:
    """Set title and upstream chat of a conversation after a turn, without saving it."""
    chat = finished.chat
    if finished.status == TurnStatus.FAILED:
        unsaid(conversation, turn)
    else:
        conversation.title = conversation.title or title_of(turn)
    if chat is not None:
        conversation.token_id = chat.token_id
        conversation.chat_id = chat.chat_id
        conversation.parent_id = chat.parent_id
        conversation.chat_turn = turn.number


@transaction.atomic
def drop(begun: Begun) -> None:
    """Delete a turn that was started and then refused, and its conversation if that was new."""
    conversation = Conversation.objects.select_for_update().filter(pk=begun.conversation_id).first()
    turn = Turn.objects.filter(pk=UUID(begun.id)).first()
    if conversation is None or turn is None:
        return
    if begun.begins:
        conversation.delete()
        return
    unsaid(conversation, turn)
    conversation.save()
    turn.delete()


def unsaid(conversation: Conversation, turn: Turn) -> None:
    """Undo a failed turn's effect on the conversation, without saving it.

    The previous system message is in force again, and the upstream chat is marked as up to date.
    """
    if conversation.chat_turn == turn.number - 1:
        conversation.chat_turn = turn.number
    if conversation.system_id == turn.pk:
        conversation.system_id = context.instructed_by(conversation, turn.number - 1)


def put(turn: Turn, entries: Sequence[Entry], *, output: bool, until: float = math.inf) -> None:
    """Write a turn's items, and their words into the search index.

    Raises TooLate after `until`, a time of the monotonic clock.
    """
    rows = new_items(turn, entries, output=output)
    for start in range(0, len(rows), PUT_AT_ONCE):
        require_time(until)
        put_items(turn, rows[start : start + PUT_AT_ONCE])


def put_items(turn: Turn, rows: list[Item]) -> None:
    """Write some items of a turn, and their words into the search index, one statement each."""
    item_search.add(turn.user_id, Item.objects.bulk_create(rows))


def new_items(turn: Turn, entries: Sequence[Entry], *, output: bool) -> list[Item]:
    """Return a turn's items as unsaved rows."""
    hex_id = turn.pk.hex
    return [
        Item(
            public_id=items.public_id(entry.type, hex_id, place, output=output),
            conversation_id=turn.conversation_id,
            turn=turn,
            output=output,
            type=entry.type,
            role=entry.role,
            status=entry.status,
            text=entry.text,
            told=entry.told,
            data=entry.data,
        )
        for place, entry in enumerate(entries)
    ]


def touch(conversation: Conversation, turn: Turn, new: Sequence[Entry]) -> None:
    """Save the conversation as used now, with the turn's instructions if it has any."""
    set_used(conversation)
    if any(entry.role in SYSTEM_ROLES for entry in new):
        conversation.system = turn
    conversation.save()


def set_used(conversation: Conversation) -> None:
    """Set the last use and the expiry of a conversation from now, without saving it."""
    conversation.used_at = timezone.now()
    if conversation.idle_seconds:
        conversation.expires_at = conversation.used_at + timedelta(
            seconds=conversation.idle_seconds
        )


def title_of(turn: Turn) -> str:
    """Return the start of the turn's first user text, at most TITLE_CHARS characters."""
    asked = (
        turn.items.filter(role="user")
        .exclude(text="")
        .order_by("id")
        .values_list("text", flat=True)
        .first()
    )
    return " ".join((asked or "")[: 4 * TITLE_CHARS].split())[:TITLE_CHARS]


def estimate_item_tokens(entries: Iterable[Said]) -> int:
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


# --- the living and the dead ----------------------------------------------------------------------
def renew_leases(turn_ids: Sequence[str]) -> None:
    """Renew the leases of these turns: this process still works on them."""
    running = Turn.objects.running().filter(pk__in=map(UUID, turn_ids))
    running.renew_lease("alive_until", settings.TURN_LEASE_SECONDS)


def to_stop(turn_ids: Sequence[str]) -> list[str]:
    """Return those of the turns that a user asked to stop, or that are deleted."""
    there = dict(Turn.objects.filter(pk__in=map(UUID, turn_ids)).values_list("pk", "asked_to_stop"))
    return [turn_id for turn_id in turn_ids if there.get(UUID(turn_id), True)]


def sweep() -> int:
    """Mark all turns whose process is dead as ended; return how many there were."""
    return interrupt(Turn.objects.all())


def link(conversation_id: str, document_ids: Sequence[str]) -> None:
    """Link the conversation to these documents: they are deleted with it."""
    conversation = Conversation.objects.filter(pk=conversation_id).first()
    if conversation is not None:
        conversation.documents.add(*Document.objects.filter(pk__in=document_ids).only("pk"))
