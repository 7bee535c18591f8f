"""Start a turn in one transaction of a database thread.

Find or create the conversation, lock it, load the history that fits the budget, and save the
request's items. `look_up` builds the same prompt without saving anything.

A request of more than PUT_AT_ONCE items is written in several transactions, so that other writers
are not held up. Until the last one the turn is queued: no other turn of the conversation may start,
and if the process dies, later turns ignore this one.
"""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from conversations.files import storage_quota
from conversations.history import context, deduplicate, finish_turn
from conversations.history.context import Line
from conversations.history.conversation_lookup import Asked, Busy, behind, place_of, require_free
from conversations.history.finish_turn import (
    Begun,
    drop,
    estimate_item_tokens,
    new_items,
    put,
    put_items,
    touch,
)
from conversations.messages import items
from conversations.messages.items import Entry
from conversations.messages.tool_order import paired
from conversations.models import Conversation, Door, Turn, TurnStatus
from providers.database.database_threads import limit_transaction, require_time
from providers.database.leases import time_from_now
from providers.exceptions import InvalidRequest
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import Resume

# pause between two parts of a long request, so that the event loop gets the interpreter
PAUSE_SECONDS = 0.005


class Started(NamedTuple):
    """A turn whose row is written, with everything that a queued one still has to write."""

    begun: Begun
    turn: Turn
    entries: list[Entry]
    replaced_ids: list[UUID]  # turns that this one replaces


def begin_within(asked: Asked, seconds: float) -> Begun:
    """Start the turn like `begin`, with a time limit that runs from now."""
    return begin(asked, time.monotonic() + seconds)


def begin(asked: Asked, until: float = math.inf) -> Begun:
    """Start the turn; write its row and items, and return it.

    `until` is a time of the monotonic clock. After it nothing is written, because the caller no
    longer waits and the turn would only block others. Raises Busy, UnknownUrl, InvalidRequest,
    TooLate.
    """
    try:
        with transaction.atomic():
            limit_transaction(until)
            started = placed(asked, until)
            require_time(until)
    except IntegrityError:  # another request created the conversation at the same moment
        raise Busy from None
    if started.turn.status == TurnStatus.QUEUED:
        try:
            put_rest(started, until)
        except BaseException:
            drop(started.begun)
            raise
    return started.begun


def placed(asked: Asked, until: float) -> Started:
    """Create the turn's row and, if there are few, its items.

    The row stays queued while not all of its items are written. Also saves the conversation, adds
    to the remembered size of the user's contents, and marks turns that this one replaces; for a
    queued turn that is left to `put_rest`, so that a turn that never starts replaces nothing.
    """
    conversation, begins = place_of(asked)
    require_free(conversation)
    own = [entry for entry in asked.entries if entry.role in SYSTEM_ROLES]
    heard, turned_back, replaced_ids = heard_of(conversation, asked)
    room = asked.budget - estimate_item_tokens(said(heard))
    own_system = estimate_item_tokens(own)
    told = context.read(conversation, room, own_system=own_system, least=least(heard))
    chat = asked.door == Door.CHAT
    repeated = chat and deduplicate.same(told.system, own)
    new = [entry.clean() for entry in (heard if repeated or not chat else [*own, *heard])]
    if told.unanswered and deduplicate.same(told.unanswered, said(new)):
        replaced_ids.append(told.unanswered[0].turn_id)  # the same question again
        set_replaced(replaced_ids, replaced=True)
        told.items = told.items[: -len(told.unanswered)]
    messages = composed(asked, [] if own else told.system, told.items, heard)
    size = storage_quota.size_of(new) + storage_quota.json_size(asked.settings)
    storage_quota.require_room(asked.user_id, size)
    conversation.last += 1
    is_whole = len(new) <= finish_turn.PUT_AT_ONCE
    turn = Turn.objects.create(
        id=UUID(asked.request_id),
        conversation=conversation,
        user_id=asked.user_id,
        number=conversation.last,
        door=asked.door,
        status=TurnStatus.IN_PROGRESS if is_whole else TurnStatus.QUEUED,
        model=asked.model,
        stored=asked.stored,
        background=asked.background,
        metadata=asked.metadata,
        settings=items.storable(asked.settings),
        tokens=estimate_item_tokens(said(new)),
        stored_bytes=size,
        alive_until=time_from_now(settings.TURN_LEASE_SECONDS),
    )
    if is_whole:
        put(turn, new, output=False, until=until)
    else:
        set_replaced(replaced_ids, replaced=False)
    storage_quota.add_on_commit(asked.user_id, size)
    touch(conversation, turn, new if is_whole else ())
    knows = (
        (repeated or not own)
        and not turned_back
        and all(entry.role != "assistant" for entry in heard)
    )
    begun = Begun(
        id=asked.request_id,
        conversation_id=conversation.pk,
        number=turn.number,
        begins=begins,
        created_at=int(turn.created_at.timestamp()),
        messages=messages,
        resume=resume_of(conversation, turn) if knows else None,
    )
    return Started(begun, turn, new, replaced_ids)


def put_rest(started: Started, until: float) -> None:
    """Write the items of a queued turn in several transactions, then mark it as in progress.

    When the conversation is deleted meanwhile, the remaining items are not written. Raises TooLate.
    """
    _, turn, new, replaced_ids = started
    rows = new_items(turn, new, output=False)
    try:
        for start in range(0, len(rows), finish_turn.PUT_AT_ONCE):
            with transaction.atomic():
                limit_transaction(until)
                put_items(turn, rows[start : start + finish_turn.PUT_AT_ONCE])
            time.sleep(PAUSE_SECONDS)
        with transaction.atomic():
            limit_transaction(until)
            Turn.objects.filter(pk=turn.pk, status=TurnStatus.QUEUED).update(
                status=TurnStatus.IN_PROGRESS
            )
            set_replaced(replaced_ids, replaced=True)
            if any(entry.role in SYSTEM_ROLES for entry in new):
                Conversation.objects.filter(pk=turn.conversation_id).update(system=turn)
    except IntegrityError:
        if Turn.objects.filter(pk=turn.pk).exists():
            raise


def heard_of(conversation: Conversation, asked: Asked) -> tuple[list[Entry], bool, list[UUID]]:
    """Return the request's new items, and mark the turns that it replaces.

    Instructions are left out for chat requests. The second value is true when the request continues
    from an older turn; the turns after that one are then marked as replaced in the database, and
    their ids are the third value.
    """
    heard = said(asked.entries)
    if asked.door != Door.CHAT or len(heard) < 2 or not conversation.last:
        return asked.entries if asked.door != Door.CHAT else heard, False, []
    last, first = context.last_and_first(conversation, len(heard))
    found = deduplicate.beyond(last, first, asked.entries)
    replaced_ids: list[UUID] = []
    if found.after is not None:
        later = Turn.objects.filter(
            conversation=conversation,
            number__gt=Turn.objects.get(pk=found.after).number,
            replaced=False,
        )
        replaced_ids = list(later.values_list("pk", flat=True))
        set_replaced(replaced_ids, replaced=True)
    return found.new, found.after is not None, replaced_ids


def said(entries: Sequence[Entry]) -> list[Entry]:
    """Return the items that are no instructions."""
    return [entry for entry in entries if entry.role not in SYSTEM_ROLES]


def least(heard: Sequence[Entry]) -> int:
    """Return how many earlier turns the prompt includes even if they do not fit: 0 or 1.

    It is 1 when the request answers tool calls of the last turn.
    """
    calls = {entry.data["call_id"] for entry in heard if entry.type == "function_call"}
    return int(
        any(e.type == "function_call_output" and e.data.get("call_id") not in calls for e in heard)
    )


def set_replaced(turn_ids: Sequence[UUID], *, replaced: bool) -> None:
    """Set whether later turns leave these turns out of their prompts."""
    if turn_ids:
        Turn.objects.filter(pk__in=turn_ids).update(replaced=replaced)


def composed(
    asked: Asked, system: Sequence[Line], before: Sequence[Line], heard: Sequence[Entry]
) -> list[dict[str, Any]]:
    """Return all messages for the upstream: instructions, history and new items.

    Raises InvalidRequest when there is nothing to answer.
    """
    own = [entry for entry in asked.entries if entry.role in SYSTEM_ROLES]
    fresh = said(heard)
    old = items.to_messages([*system, *own, *before])
    messages = paired([*old, *items.to_messages(fresh)], len(old))
    if not messages and not asked.settings.get("instructions"):
        raise InvalidRequest(
            "There is nothing to be answered.", param="input", code="missing_required_parameter"
        )
    return messages


def resume_of(conversation: Conversation, turn: Turn) -> Resume | None:
    """Return where an upstream keeps the conversation, or None when it has missed a turn."""
    if (
        not conversation.chat_id
        or conversation.token_id is None
        or conversation.chat_turn != turn.number - 1
    ):
        return None
    return Resume(conversation.token_id, conversation.chat_id, conversation.parent_id)


def look_up(asked: Asked) -> list[dict[str, Any]]:
    """Return the messages for the upstream of a request that is not saved.

    Raises UnknownUrl, InvalidRequest.
    """
    own = estimate_item_tokens(entry for entry in asked.entries if entry.role in SYSTEM_ROLES)
    room = asked.budget - estimate_item_tokens(said(asked.entries))
    told = context.read(behind(asked), room, own_system=own, least=least(asked.entries))
    return composed(asked, [] if own else told.system, told.items, asked.entries)
