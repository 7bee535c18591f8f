"""Deeds on the log, each one transaction in a database thread: begin a turn, finish it, drop it, end those of the dead.

`begin` finds the place of a request (a conversation of its own name, one of OpenAI's ids, what follows a response, or
a new thread), lets nobody else in, reads what was said before, as much as fits, and writes down what is asked.
`finish` writes what came of it. Whose id it is decides, never the id alone: another user's and an unknown one are the
same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from conversations import earlier, items, overlap, search
from conversations.items import SYSTEM, Entry
from conversations.models import RUNNING, Conversation, Document, Door, Farewell, Item, Turn, TurnStatus
from conversations.pairing import paired
from conversations.places import Asked, Busy, behind, interrupt, place_of, require_free
from conversations.usage import tokens
from providers.chat import Resume
from providers.exceptions import InvalidRequest

TITLE_CHARS = 80
PER_ITEM = 4  # tokens that an upstream adds to each message
PER_ATTACHMENT = 1_000  # tokens of a part that is no text, roughly
SWEPT_AT_ONCE = 500


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


# --- begin ------------------------------------------------------------------------------------------------------------
def begin(asked: Asked) -> Begun:
    """Raises Busy, UnknownUrl, InvalidRequest."""
    try:
        with transaction.atomic():
            return placed(asked)
    except IntegrityError:  # somebody else began at the same moment
        raise Busy from None


def placed(asked: Asked) -> Begun:
    conversation, begins = place_of(asked)
    require_free(conversation)
    own = [entry for entry in asked.entries if entry.role in SYSTEM]
    heard, turned_back = heard_of(conversation, asked)
    told = earlier.read(conversation, asked.budget - weight([*own, *heard]), own_system=bool(own), least=least(heard))
    chat = asked.door == Door.CHAT
    repeated = chat and overlap.same(told.system, own)
    new = [entry.clean() for entry in (heard if repeated or not chat else [*own, *heard])]
    if told.unanswered and overlap.same(told.unanswered, [entry for entry in new if entry.role not in SYSTEM]):
        replace(conversation, told.unanswered[0].turn_id)  # it is asked again
        told.items = told.items[: -len(told.unanswered)]
    messages = composed(asked, [] if own else told.system, told.items, heard)
    conversation.last += 1
    turn = Turn.objects.create(
        id=UUID(asked.request_id),
        conversation=conversation,
        user_id=asked.user_id,
        number=conversation.last,
        door=asked.door,
        status=TurnStatus.IN_PROGRESS,
        model=asked.model,
        stored=asked.stored,
        background=asked.background,
        metadata=asked.metadata,
        settings=items.storable(asked.settings),
        tokens=weight(entry for entry in new if entry.role not in SYSTEM),
        alive_until=Now() + timedelta(seconds=settings.TURN_LEASE_SECONDS),
    )
    put(turn, new, output=False)
    touch(conversation, turn, new)
    knows = (repeated or not own) and not turned_back and all(entry.role != "assistant" for entry in heard)
    return Begun(
        id=asked.request_id,
        conversation_id=conversation.pk,
        number=turn.number,
        begins=begins,
        created_at=int(turn.created_at.timestamp()),
        messages=messages,
        resume=resume_of(conversation, turn) if knows else None,
    )


def heard_of(conversation: Conversation, asked: Asked) -> tuple[list[Entry], bool]:
    """What the request says besides instructions that was not said before; and whether it goes on from an older turn,
    so that those after it are left behind.
    """
    heard = [entry for entry in asked.entries if entry.role not in SYSTEM]
    if asked.door != Door.CHAT or len(heard) < 2 or not conversation.last:
        return asked.entries if asked.door != Door.CHAT else heard, False
    last, first = earlier.last_and_first(conversation, len(heard))
    found = overlap.beyond(last, first, asked.entries)
    if found.after is not None:
        left = Turn.objects.filter(conversation=conversation, number__gt=Turn.objects.get(pk=found.after).number)
        left.update(replaced=True)
    return found.new, found.after is not None


def least(heard: Sequence[Entry]) -> int:
    """How many turns are told whatever fits: the last one, when its calls are answered."""
    calls = {entry.data["call_id"] for entry in heard if entry.type == "function_call"}
    return int(any(e.type == "function_call_output" and e.data.get("call_id") not in calls for e in heard))


def replace(conversation: Conversation, turn_id: UUID) -> None:
    Turn.objects.filter(pk=turn_id, conversation=conversation).update(replaced=True)


def composed(
    asked: Asked, system: Sequence[Item], before: Sequence[Item], heard: Sequence[Entry]
) -> list[dict[str, Any]]:
    """All that the upstream is told: instructions, what was said, what is new. Raises InvalidRequest."""
    own = [entry for entry in asked.entries if entry.role in SYSTEM]
    fresh = [entry for entry in heard if entry.role not in SYSTEM]
    old = items.to_messages([*system, *own, *before])
    messages = paired([*old, *items.to_messages(fresh)], len(old))
    if not messages and not asked.settings.get("instructions"):
        raise InvalidRequest("There is nothing to be answered.", param="input", code="missing_required_parameter")
    return messages


def resume_of(conversation: Conversation, turn: Turn) -> Resume | None:
    """Where an upstream keeps the conversation, when nothing was said since that it does not know."""
    if not conversation.chat_id or conversation.token_id is None or conversation.chat_turn != turn.number - 1:
        return None
    return Resume(conversation.token_id, conversation.chat_id, conversation.parent_id)


def look_up(asked: Asked) -> list[dict[str, Any]]:
    """What the upstream is told when nothing of the request is to be kept. Raises UnknownUrl, InvalidRequest."""
    own = any(entry.role in SYSTEM for entry in asked.entries)
    room = asked.budget - weight(asked.entries)
    told = earlier.read(behind(asked), room, own_system=own, least=least(asked.entries))
    return composed(asked, [] if own else told.system, told.items, asked.entries)


# --- finish -----------------------------------------------------------------------------------------------------------
@transaction.atomic
def finish(finished: Finished) -> None:
    """Write what came of a turn. Of a conversation that was deleted meanwhile nothing is written. Raises Lost."""
    conversation = Conversation.objects.select_for_update().filter(pk=finished.conversation_id).first()
    turn = Turn.objects.select_for_update().filter(pk=UUID(finished.id)).first()
    if conversation is None or turn is None:
        if finished.chat is not None:
            Farewell.objects.create(token_id=finished.chat.token_id, chat_id=finished.chat.chat_id)
        return
    if turn.status not in RUNNING:
        raise Lost
    turn.status, turn.finish_reason = finished.status, finished.finish_reason[:32]
    turn.usage, turn.error, turn.extras = finished.usage, finished.error, items.storable(finished.extras)
    turn.thought = items.storable(finished.thought)
    turn.tokens += weight(finished.entries)
    turn.finished_at, turn.alive_until = timezone.now(), None
    turn.save()
    put(turn, finished.entries, output=True)
    chat = finished.chat
    if finished.status == TurnStatus.FAILED:
        unsaid(conversation, turn)
    else:
        conversation.title = conversation.title or title_of(turn)
    if chat is not None:
        conversation.token_id, conversation.chat_id = chat.token_id, chat.chat_id
        conversation.parent_id, conversation.chat_turn = chat.parent_id, turn.number
    touch(conversation, turn, ())


@transaction.atomic
def drop(begun: Begun) -> None:
    """Take a turn back that was begun and then refused, and its conversation when that began with it."""
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
    """Nothing that the turn asked counts: the instructions before it are in force again, and an upstream that keeps the
    conversation has missed nothing. The conversation is not saved.
    """
    if conversation.chat_turn == turn.number - 1:
        conversation.chat_turn = turn.number
    if conversation.system_id == turn.pk:
        conversation.system_id = earlier.instructed_by(conversation, turn.number - 1)


def put(turn: Turn, entries: Sequence[Entry], *, output: bool) -> None:
    """Write a turn's items, and their words into the index."""
    hex_id = turn.pk.hex
    rows = Item.objects.bulk_create(
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
    )
    search.add(turn.user_id, rows)


def touch(conversation: Conversation, turn: Turn, new: Sequence[Entry]) -> None:
    """The conversation was used: it lives on from now, has these instructions."""
    conversation.used_at = timezone.now()
    if conversation.idle_seconds:
        conversation.expires_at = conversation.used_at + timedelta(seconds=conversation.idle_seconds)
    if any(entry.role in SYSTEM for entry in new):
        conversation.system = turn
    conversation.save()


def title_of(turn: Turn) -> str:
    """The beginning of what the turn asks."""
    asked = turn.items.filter(role="user").exclude(text="").order_by("id").values_list("text", flat=True).first()
    return " ".join((asked or "")[: 4 * TITLE_CHARS].split())[:TITLE_CHARS]


def weight(entries: Any) -> int:
    """Tokens of items, roughly."""
    return sum(PER_ITEM + tokens(entry.text) + PER_ATTACHMENT * attachments(entry.data) for entry in entries)


def attachments(data: dict[str, Any]) -> int:
    parts = data.get("content")
    kinds = (part.get("type") for part in parts) if isinstance(parts, list) else ()
    return sum(kind in ("input_image", "input_file", "input_audio") for kind in kinds)


# --- the living and the dead ------------------------------------------------------------------------------------------
def prolong(turn_ids: Sequence[str]) -> None:
    """This process still works on these turns."""
    until = Now() + timedelta(seconds=settings.TURN_LEASE_SECONDS)
    Turn.objects.filter(pk__in=map(UUID, turn_ids), status__in=RUNNING).update(alive_until=until)


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
        conversation.documents.add(*Document.objects.filter(pk__in=document_ids))
