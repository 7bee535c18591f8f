"""Start a turn in one transaction of a database thread.

Find or create the conversation, lock it, load the history that fits the budget, and save the
request's items. `compose_unsaved_messages` builds the same prompt without saving anything.

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
from conversations.history.context import ItemRow
from conversations.history.conversation_lookup import (
    TurnRequest,
    TurnRunning,
    find_continued_conversation,
    find_or_create_conversation,
    require_no_running_turn,
)
from conversations.history.finish_turn import (
    TurnStart,
    delete_turn,
    estimate_item_tokens,
    make_item_rows,
    save_used_conversation,
    write_item_rows,
    write_items,
)
from conversations.messages import items, items_to_chat
from conversations.messages.items import Entry
from conversations.messages.tool_order import pair_tool_calls
from conversations.models import Conversation, Turn, TurnEndpoint, TurnStatus
from providers.database.database_threads import limit_transaction, require_time_left
from providers.database.leases import time_from_now
from providers.exceptions import InvalidRequest
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import Resume

# pause between two parts of a long request, so that the event loop gets the interpreter
PAUSE_SECONDS = 0.005


class CreatedTurn(NamedTuple):
    """A turn whose row is written, with everything that a queued one still has to write."""

    turn_start: TurnStart
    turn: Turn
    entries: list[Entry]
    replaced_ids: list[UUID]  # turns that this one replaces


def begin_turn_within(turn_request: TurnRequest, seconds: float) -> TurnStart:
    """Start the turn like `begin_turn`, with a time limit that runs from now."""
    return begin_turn(turn_request, time.monotonic() + seconds)


def begin_turn(turn_request: TurnRequest, until: float = math.inf) -> TurnStart:
    """Start the turn; write its row and items, and return it.

    `until` is a time of the monotonic clock. After it nothing is written, because the caller no
    longer waits and the turn would only block others. Raises Busy, UnknownUrl, InvalidRequest,
    TooLate.
    """
    try:
        with transaction.atomic():
            limit_transaction(until)
            started = create_turn(turn_request, until)
            require_time_left(until)
    except IntegrityError:  # another request created the conversation at the same moment
        raise TurnRunning from None
    if started.turn.status == TurnStatus.QUEUED:
        try:
            write_remaining_items(started, until)
        except BaseException:
            delete_turn(started.turn_start)
            raise
    return started.turn_start


def create_turn(turn_request: TurnRequest, until: float) -> CreatedTurn:
    """Create the turn's row and, if there are few, its items.

    The row stays queued while not all of its items are written. Also saves the conversation, adds
    to the remembered size of the user's contents, and marks turns that this one replaces; for a
    queued turn that is left to `write_remaining_items`, so that a turn that never starts replaces
    nothing.
    """
    conversation, begins = find_or_create_conversation(turn_request)
    require_no_running_turn(conversation)
    own = [entry for entry in turn_request.entries if entry.role in SYSTEM_ROLES]
    heard, turned_back, replaced_ids = find_new_and_replace(conversation, turn_request)
    room = turn_request.budget_tokens - estimate_item_tokens(exclude_instructions(heard))
    own_system = estimate_item_tokens(own)
    told = context.load_context(
        conversation, room, own_system_tokens=own_system, min_turns=count_required_turns(heard)
    )
    chat = turn_request.endpoint == TurnEndpoint.CHAT
    repeated = chat and deduplicate.repeats_items(told.system, own)
    new = [entry.make_storable() for entry in (heard if repeated or not chat else [*own, *heard])]
    if told.unanswered and deduplicate.repeats_items(told.unanswered, exclude_instructions(new)):
        replaced_ids.append(told.unanswered[0].turn_id)  # the same question again
        update_replaced(replaced_ids, replaced=True)
        told.items = told.items[: -len(told.unanswered)]
    messages = compose_messages(turn_request, [] if own else told.system, told.items, heard)
    size = storage_quota.estimate_items_bytes(new) + storage_quota.json_size(turn_request.settings)
    storage_quota.require_storage_room(turn_request.user_id, size)
    conversation.last += 1
    is_whole = len(new) <= finish_turn.ITEMS_PER_WRITE
    turn = Turn.objects.create(
        id=UUID(turn_request.request_id),
        conversation=conversation,
        user_id=turn_request.user_id,
        number=conversation.last,
        door=turn_request.endpoint,
        status=TurnStatus.IN_PROGRESS if is_whole else TurnStatus.QUEUED,
        model=turn_request.model,
        stored=turn_request.stored,
        background=turn_request.background,
        metadata=turn_request.metadata,
        settings=items.replace_unstorable(turn_request.settings),
        tokens=estimate_item_tokens(exclude_instructions(new)),
        stored_bytes=size,
        alive_until=time_from_now(settings.TURN_LEASE_SECONDS),
    )
    if is_whole:
        write_items(turn, new, output=False, until=until)
    else:
        update_replaced(replaced_ids, replaced=False)
    storage_quota.add_bytes_on_commit(turn_request.user_id, size)
    save_used_conversation(conversation, turn, new if is_whole else ())
    knows = (
        (repeated or not own)
        and not turned_back
        and all(entry.role != "assistant" for entry in heard)
    )
    begun = TurnStart(
        id=turn_request.request_id,
        conversation_id=conversation.pk,
        number=turn.number,
        is_new_conversation=begins,
        created_at=int(turn.created_at.timestamp()),
        messages=messages,
        resume=find_resume(conversation, turn) if knows else None,
    )
    return CreatedTurn(begun, turn, new, replaced_ids)


def write_remaining_items(created: CreatedTurn, until: float) -> None:
    """Write the items of a queued turn in several transactions, then mark it as in progress.

    When the conversation is deleted meanwhile, the remaining items are not written. Raises TooLate.
    """
    _, turn, new, replaced_ids = created
    rows = make_item_rows(turn, new, output=False)
    try:
        for start in range(0, len(rows), finish_turn.ITEMS_PER_WRITE):
            with transaction.atomic():
                limit_transaction(until)
                write_item_rows(turn, rows[start : start + finish_turn.ITEMS_PER_WRITE])
            time.sleep(PAUSE_SECONDS)
        with transaction.atomic():
            limit_transaction(until)
            Turn.objects.filter(pk=turn.pk, status=TurnStatus.QUEUED).update(
                status=TurnStatus.IN_PROGRESS
            )
            update_replaced(replaced_ids, replaced=True)
            if any(entry.role in SYSTEM_ROLES for entry in new):
                Conversation.objects.filter(pk=turn.conversation_id).update(system=turn)
    except IntegrityError:
        if Turn.objects.filter(pk=turn.pk).exists():
            raise


def find_new_and_replace(
    conversation: Conversation, turn_request: TurnRequest
) -> tuple[list[Entry], bool, list[UUID]]:
    """Return the request's new items, and mark the turns that it replaces.

    Instructions are left out for chat requests. The second value is true when the request continues
    from an older turn; the turns after that one are then marked as replaced in the database, and
    their ids are the third value.
    """
    heard = exclude_instructions(turn_request.entries)
    if turn_request.endpoint != TurnEndpoint.CHAT or len(heard) < 2 or not conversation.last:
        return (
            turn_request.entries if turn_request.endpoint != TurnEndpoint.CHAT else heard,
            False,
            [],
        )
    last, first = context.load_last_and_first(conversation, len(heard))
    found = deduplicate.find_new_items(last, first, turn_request.entries)
    replaced_ids: list[UUID] = []
    if found.continues_after is not None:
        later = Turn.objects.filter(
            conversation=conversation,
            number__gt=Turn.objects.get(pk=found.continues_after).number,
            replaced=False,
        )
        replaced_ids = list(later.values_list("pk", flat=True))
        update_replaced(replaced_ids, replaced=True)
    return found.entries, found.continues_after is not None, replaced_ids


def exclude_instructions(entries: Sequence[Entry]) -> list[Entry]:
    """Return the items that are no instructions."""
    return [entry for entry in entries if entry.role not in SYSTEM_ROLES]


def count_required_turns(new_entries: Sequence[Entry]) -> int:
    """Return how many earlier turns the prompt includes even if they do not fit: 0 or 1.

    It is 1 when the request answers tool calls of the last turn.
    """
    calls = {entry.data["call_id"] for entry in new_entries if entry.type == "function_call"}
    return int(
        any(
            e.type == "function_call_output" and e.data.get("call_id") not in calls
            for e in new_entries
        )
    )


def update_replaced(turn_ids: Sequence[UUID], *, replaced: bool) -> None:
    """Set whether later turns leave these turns out of their prompts."""
    if turn_ids:
        Turn.objects.filter(pk__in=turn_ids).update(replaced=replaced)


def compose_messages(
    turn_request: TurnRequest,
    system: Sequence[ItemRow],
    earlier_items: Sequence[ItemRow],
    new_entries: Sequence[Entry],
) -> list[dict[str, Any]]:
    """Return all messages for the upstream: instructions, history and new items.

    Raises InvalidRequest when there is nothing to answer.
    """
    own = [entry for entry in turn_request.entries if entry.role in SYSTEM_ROLES]
    fresh = exclude_instructions(new_entries)
    old = items_to_chat.entries_to_messages([*system, *own, *earlier_items])
    messages = pair_tool_calls([*old, *items_to_chat.entries_to_messages(fresh)], len(old))
    if not messages and not turn_request.settings.get("instructions"):
        raise InvalidRequest(
            "There is nothing to be answered.", param="input", code="missing_required_parameter"
        )
    return messages


def find_resume(conversation: Conversation, turn: Turn) -> Resume | None:
    """Return where an upstream keeps the conversation, or None when it has missed a turn."""
    if (
        not conversation.chat_id
        or conversation.token_id is None
        or conversation.chat_turn != turn.number - 1
    ):
        return None
    return Resume(conversation.token_id, conversation.chat_id, conversation.parent_id)


def compose_unsaved_messages(turn_request: TurnRequest) -> list[dict[str, Any]]:
    """Return the messages for the upstream of a request that is not saved.

    Raises UnknownUrl, InvalidRequest.
    """
    own = estimate_item_tokens(
        entry for entry in turn_request.entries if entry.role in SYSTEM_ROLES
    )
    room = turn_request.budget_tokens - estimate_item_tokens(
        exclude_instructions(turn_request.entries)
    )
    told = context.load_context(
        find_continued_conversation(turn_request),
        room,
        own_system_tokens=own,
        min_turns=count_required_turns(turn_request.entries),
    )
    return compose_messages(
        turn_request, [] if own else told.system, told.items, turn_request.entries
    )
