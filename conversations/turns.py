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
from conversations.models.log import SAID
from conversations.places import Asked, Busy, behind, interrupt, place_of, require_free
from conversations.usage import tokens
from providers.chat import Resume

TITLE_CHARS = 80
PER_ITEM = 4  # tokens that an upstream adds to each message
PER_ATTACHMENT = 1_000  # tokens of a part that is no text, roughly
SWEPT_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that stands in the log, and what its upstream is to be told before the request's own messages."""

    id: str
    conversation_id: str
    number: int
    begins: bool  # its conversation begins with it
    created_at: int
    messages: list[dict[str, Any]]
    fresh: list[dict[str, Any]]  # of the request's own messages those that are new, its system messages in front
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
    room = asked.budget - weight(entry for entry in asked.entries)
    own = [entry for entry in asked.entries if entry.role in SYSTEM]
    told = earlier.read(conversation, room, own_system=bool(own))
    heard = asked.entries if asked.door != Door.CHAT else overlap.beyond(told.items, asked.entries)
    fresh = heard if asked.door != Door.CHAT else [*own, *heard]
    repeated = asked.door == Door.CHAT and len(own) == len(told.system) and all(map(overlap.same, told.system, own))
    new = [entry.clean() for entry in (heard if repeated else fresh)]
    if told.unanswered and repeats(told.unanswered, new):
        told.items = told.items[: -len(told.unanswered)]  # it is asked again
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
    return Begun(
        id=asked.request_id,
        conversation_id=conversation.pk,
        number=turn.number,
        begins=begins,
        created_at=int(turn.created_at.timestamp()),
        messages=items.to_messages([*([] if own else told.system), *told.items]),
        fresh=items.to_messages(fresh),
        resume=resume_of(conversation, turn) if repeated or not own else None,  # it was told other instructions
    )


def repeats(unanswered: Sequence[Item], new: Sequence[Entry]) -> bool:
    heard = [entry for entry in new if entry.role not in SYSTEM]
    return len(heard) == len(unanswered) and all(map(overlap.same, unanswered, heard))


def resume_of(conversation: Conversation, turn: Turn) -> Resume | None:
    """Where an upstream keeps the conversation, when nothing was said since that it does not know."""
    if not conversation.chat_id or conversation.token_id is None or conversation.chat_turn != turn.number - 1:
        return None
    return Resume(conversation.token_id, conversation.chat_id, conversation.parent_id)


def look_up(asked: Asked) -> Begun:
    """What would be told to the upstream, when nothing of the request is to be kept. Raises UnknownUrl."""
    own = [entry for entry in asked.entries if entry.role in SYSTEM]
    told = earlier.read(behind(asked), asked.budget - weight(asked.entries), own_system=bool(own))
    return Begun(
        id=asked.request_id,
        conversation_id="",
        number=0,
        begins=False,
        created_at=int(timezone.now().timestamp()),
        messages=items.to_messages([*([] if own else told.system), *told.items]),
        fresh=items.to_messages(asked.entries),
    )


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
    elif chat is not None:
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
        said = Item.objects.filter(conversation=conversation, role__in=SYSTEM, turn__status__in=SAID)
        conversation.system_id = said.order_by("-id").values_list("turn_id", flat=True).first()


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
            data=entry.data,
        )
        for place, entry in enumerate(entries)
    )
    search.add(turn.user_id, rows)


def touch(conversation: Conversation, turn: Turn, new: Sequence[Entry]) -> None:
    """The conversation was used: it lives on from now, is called after its first question, has these instructions."""
    conversation.used_at = timezone.now()
    if conversation.idle_seconds:
        conversation.expires_at = conversation.used_at + timedelta(seconds=conversation.idle_seconds)
    if any(entry.role in SYSTEM for entry in new):
        conversation.system = turn
    if not conversation.title:
        asked = next((entry.text for entry in new if entry.role == "user" and entry.text.strip()), "")
        conversation.title = " ".join(asked[: 4 * TITLE_CHARS].split())[:TITLE_CHARS]
    conversation.save()


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
    going = Turn.objects.filter(pk__in=map(UUID, turn_ids), status__in=RUNNING, asked_to_stop=False)
    left = {key.hex for key in going.values_list("pk", flat=True)}
    return [turn_id for turn_id in turn_ids if turn_id not in left]


def sweep() -> int:
    """End all turns whose process is dead; returns how many."""
    return interrupt(Turn.objects.all())


def link(conversation_id: str, document_ids: Sequence[str]) -> None:
    """The conversation goes on about these documents: they are deleted with it."""
    conversation = Conversation.objects.filter(pk=conversation_id).first()
    if conversation is not None:
        conversation.documents.add(*Document.objects.filter(pk__in=document_ids))
