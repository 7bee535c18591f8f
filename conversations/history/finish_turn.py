"""Deeds on the turns of the log, each one transaction in a database thread: finish one, drop it,
keep it alive, end those of the dead. How one begins is `start_turn.py`.
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
from providers.protocol.chat import Resume
from providers.protocol.message_text import SYSTEM_ROLES

TITLE_CHARS = 80
PUT_AT_ONCE = 100  # items that are written before somebody looks at the clock


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that stands in the log."""

    id: str
    conversation_id: str
    number: int
    begins: bool  # its conversation begins with it
    created_at: int
    messages: list[dict[str, Any]]  # all that its upstream is told
    resume: Resume | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a turn. `chat`: where it stands at an upstream that keeps chats."""

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
    """The turn was taken for dead: another one may have begun."""


UNWRITABLE = (
    Lost,
    DataError,
    IntegrityError,
    TypeError,
    ValueError,
)  # of one turn, whenever it is tried


# --- finish ---------------------------------------------------------------------------------------
@transaction.atomic
def finish(finished: Finished) -> None:
    """Write what came of a turn. Of a conversation that was deleted meanwhile nothing is written.
    Raises Lost.
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
    """Set what came of a turn, and the end of its lease with it; it is not saved.

    No `release_lease`: the lease ends in the statement that writes the whole row.
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
    size = storage_quota.size_of(finished.entries) * (
        2 if turn.background else 1
    )  # its events are rows too
    size += storage_quota.json_size(turn.extras) + storage_quota.json_size(turn.thought)
    turn.stored_bytes += size
    storage_quota.add(turn.user_id, size)
    turn.finished_at = timezone.now()
    turn.alive_until = None


def set_progress(conversation: Conversation, turn: Turn, finished: Finished) -> None:
    """Set how far a conversation is after a turn; it is not saved."""
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
    """Take a turn back that was begun and then refused, and its conversation when that began with
    it.
    """
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
    """Nothing that the turn asked counts: the instructions before it are in force again, and an
    upstream that keeps the conversation has missed nothing. The conversation is not saved.
    """
    if conversation.chat_turn == turn.number - 1:
        conversation.chat_turn = turn.number
    if conversation.system_id == turn.pk:
        conversation.system_id = context.instructed_by(conversation, turn.number - 1)


def put(turn: Turn, entries: Sequence[Entry], *, output: bool, until: float = math.inf) -> None:
    """Write a turn's items, and their words into the index. Raises TooLate after `until` of the
    monotonic clock.
    """
    rows = new_items(turn, entries, output=output)
    for start in range(0, len(rows), PUT_AT_ONCE):
        require_time(until)
        put_items(turn, rows[start : start + PUT_AT_ONCE])


def put_items(turn: Turn, rows: list[Item]) -> None:
    """Write some items of a turn, and their words into the index, with one statement each."""
    item_search.add(turn.user_id, Item.objects.bulk_create(rows))


def new_items(turn: Turn, entries: Sequence[Entry], *, output: bool) -> list[Item]:
    """Return a turn's items; they are not saved."""
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
    """The conversation was used: it lives on from now, has these instructions."""
    set_used(conversation)
    if any(entry.role in SYSTEM_ROLES for entry in new):
        conversation.system = turn
    conversation.save()


def set_used(conversation: Conversation) -> None:
    """Set that it lives on from now; it is not saved."""
    conversation.used_at = timezone.now()
    if conversation.idle_seconds:
        conversation.expires_at = conversation.used_at + timedelta(
            seconds=conversation.idle_seconds
        )


def title_of(turn: Turn) -> str:
    """The beginning of what the turn asks."""
    asked = (
        turn.items.filter(role="user")
        .exclude(text="")
        .order_by("id")
        .values_list("text", flat=True)
        .first()
    )
    return " ".join((asked or "")[: 4 * TITLE_CHARS].split())[:TITLE_CHARS]


def estimate_item_tokens(entries: Iterable[Said]) -> int:
    """Estimate the tokens of items as an upstream is told them: text, frame and attachments."""
    tokens = 0
    for entry in entries:
        tokens += MESSAGE_TOKENS + estimate_tokens(entry.text)
        tokens += ATTACHMENT_TOKENS * count_attachments(entry.data)
    return tokens


def count_attachments(data: dict[str, Any]) -> int:
    """Count the parts of an item's data that are no text."""
    parts = data.get("content")
    kinds = (part.get("type") for part in parts) if isinstance(parts, list) else ()
    return sum(kind in ("input_image", "input_file", "input_audio") for kind in kinds)


# --- the living and the dead ----------------------------------------------------------------------
def renew_leases(turn_ids: Sequence[str]) -> None:
    """Write that this process still works on these turns."""
    running = Turn.objects.running().filter(pk__in=map(UUID, turn_ids))
    running.renew_lease("alive_until", settings.TURN_LEASE_SECONDS)


def to_stop(turn_ids: Sequence[str]) -> list[str]:
    """Of these turns those that somebody asked to stop, or that are gone."""
    there = dict(Turn.objects.filter(pk__in=map(UUID, turn_ids)).values_list("pk", "asked_to_stop"))
    return [turn_id for turn_id in turn_ids if there.get(UUID(turn_id), True)]


def sweep() -> int:
    """End all turns whose process is dead; returns how many."""
    return interrupt(Turn.objects.all())


def link(conversation_id: str, document_ids: Sequence[str]) -> None:
    """The conversation goes on about these documents: they are deleted with it."""
    conversation = Conversation.objects.filter(pk=conversation_id).first()
    if conversation is not None:
        conversation.documents.add(*Document.objects.filter(pk__in=document_ids).only("pk"))
