"""Start a turn in one transaction of a database thread.

Find or create the conversation and lock it, find which items of the request are new, load the
history that fits the budget, and save the turn. `compose_unsaved_messages` builds the same prompt
without saving anything.

A request of more than ITEMS_PER_WRITE items is written in several transactions, so that other
writers are not held up. Until the last one the turn is queued: no other turn of the conversation
may start, and if the process dies, later turns ignore this one.
"""

import math
import time
from collections.abc import Sequence

from django.db import IntegrityError, transaction

from conversations.history import context, deduplicate
from conversations.history.context import EarlierItems, ItemRow
from conversations.history.conversation_lookup import (
    end_dead_previous_turn,
    find_continued_conversation,
    find_or_create_conversation,
)
from conversations.history.dead_turns import TurnRunning, end_dead_turns, require_no_running_turn
from conversations.history.deduplicate import NewRequestItems
from conversations.history.finish_turn import (
    TurnStart,
    delete_turn,
    estimate_item_tokens,
)
from conversations.history.repeated_outputs import drop_repeated_entries
from conversations.history.save_turn import (
    CreatedTurn,
    TurnDraft,
    save_turn,
    write_remaining_items,
)
from conversations.history.turn_request import TurnRequest, exclude_instructions
from conversations.messages import items, items_to_chat
from conversations.messages.items import Entry, ItemLike
from conversations.messages.tool_order import pair_tool_calls
from conversations.models import Conversation, Turn, TurnEndpoint, TurnStatus
from providers.database.database_threads import limit_transaction, require_time_left
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Resume


def begin_turn_within(turn_request: TurnRequest, seconds: float) -> TurnStart:
    """Start the turn like `begin_turn`, with a time limit that runs from now."""
    return begin_turn(turn_request, time.monotonic() + seconds)


def begin_turn(turn_request: TurnRequest, until: float = math.inf) -> TurnStart:
    """Start the turn; write its row and items, and return it.

    `until` is a time of the monotonic clock. After it nothing is written, because the caller no
    longer waits and the turn would only block others. Raises TurnRunning, UnknownUrl,
    InvalidRequest, TooLate.
    """
    try:
        with transaction.atomic():
            limit_transaction(until)
            created = create_turn(turn_request, until)
            require_time_left(until)
    except IntegrityError:  # another request created the conversation at the same moment
        raise TurnRunning from None
    if created.turn.status == TurnStatus.QUEUED:
        try:
            write_remaining_items(created, until)
        except BaseException:  # whatever ends the write: a queued turn would never be answered
            delete_turn(created.turn_start)
            raise
    return created.turn_start


def create_turn(turn_request: TurnRequest, until: float) -> CreatedTurn:
    """Create the turn's row and, if there are few, its items.

    The row stays queued while not all of its items are written. Also ends dead turns of the
    conversation, saves the conversation, adds to the remembered size of the user's contents, and
    marks the turns that this one replaces; for a queued turn that is left to
    `write_remaining_items`, so that a turn that never starts replaces nothing.
    """
    end_dead_previous_turn(turn_request)
    conversation, is_new = find_or_create_conversation(turn_request)
    end_dead_turns(Turn.objects.filter(conversation=conversation))
    require_no_running_turn(conversation)
    draft = draft_turn(conversation, turn_request)
    turn = save_turn(conversation, turn_request, draft, until)
    turn_start = TurnStart(
        id=turn_request.request_id,
        conversation_id=conversation.pk,
        number=turn.number,
        is_new_conversation=is_new,
        created_at=int(turn.created_at.timestamp()),
        messages=draft.messages,
        resume=find_resume(conversation, turn) if draft.adds_to_upstream_chat else None,
    )
    return CreatedTurn(turn_start, turn, draft)


# --- draft: read only -----------------------------------------------------------------------------
def draft_turn(conversation: Conversation, turn_request: TurnRequest) -> TurnDraft:
    """Return the content of the turn: the new items, and the prompt with the history that fits.

    Raises InvalidRequest when there is nothing to answer.
    """
    new = find_new_items(conversation, turn_request)
    earlier = load_earlier_items(conversation, turn_request, new)
    instructions = turn_request.instructions
    is_chat = turn_request.endpoint == TurnEndpoint.CHAT
    if not is_chat:
        new = NewRequestItems(drop_repeated_entries(conversation, earlier.items, new.entries))
    repeats_instructions = is_chat and deduplicate.repeats_items(earlier.system, instructions)
    stored = new.entries
    if is_chat and not repeats_instructions:
        stored = [*instructions, *new.entries]
    draft = TurnDraft([entry.make_storable() for entry in stored], [], list(new.replaced_ids))
    if repeats_unanswered_question(earlier, draft.entries):
        draft.replaced_ids.append(earlier.unanswered[0].turn_id)
        del earlier.items[-len(earlier.unanswered) :]
    system = [] if instructions else earlier.system
    draft.messages = compose_messages(turn_request, system, earlier.items, new.entries)
    draft.adds_to_upstream_chat = (
        (repeats_instructions or not instructions)
        and new.continues_after is None
        and all(entry.role != "assistant" for entry in new.entries)
    )
    return draft


def find_new_items(conversation: Conversation, turn_request: TurnRequest) -> NewRequestItems:
    """Return the request's new items, and the turns that it replaces.

    A chat request may repeat the history; its instructions are left out. The input of a response is
    always new.
    """
    if turn_request.endpoint != TurnEndpoint.CHAT:
        return NewRequestItems(turn_request.entries)
    entries = exclude_instructions(turn_request.entries)
    if len(entries) < 2 or not conversation.last_number:
        return NewRequestItems(entries)
    last, first = context.load_last_and_first(conversation, len(entries))
    new = deduplicate.find_new_items(last, first, entries)
    if new.continues_after is None:
        return new
    number = Turn.objects.get(pk=new.continues_after).number
    later = Turn.objects.filter(conversation=conversation, number__gt=number, is_replaced=False)
    return NewRequestItems(
        new.entries, new.continues_after, number, tuple(later.values_list("pk", flat=True))
    )


def load_earlier_items(
    conversation: Conversation, turn_request: TurnRequest, new: NewRequestItems
) -> EarlierItems:
    """Load the history that fits into the request's budget beside its new items."""
    new_tokens = estimate_item_tokens(exclude_instructions(new.entries))
    return context.load_context(
        conversation,
        turn_request.budget_tokens - new_tokens,
        own_system_tokens=estimate_item_tokens(turn_request.instructions),
        min_turns=count_required_turns(new.entries),
        last_number=new.last_number,
    )


def repeats_unanswered_question(earlier: EarlierItems, entries: Sequence[Entry]) -> bool:
    """Return whether the request asks again what got no answer in the last turn."""
    question = exclude_instructions(entries)
    return bool(earlier.unanswered) and deduplicate.repeats_items(earlier.unanswered, question)


def count_required_turns(new_entries: Sequence[Entry]) -> int:
    """Return how many earlier turns the prompt includes even if they do not fit: 0 or 1.

    It is 1 when the request answers tool calls of the last turn.
    """
    own_calls = {entry.data["call_id"] for entry in new_entries if entry.type in items.CALL_KINDS}
    outputs = [entry for entry in new_entries if entry.type in items.OUTPUT_TYPES]
    return int(any(entry.data.get("call_id") not in own_calls for entry in outputs))


def compose_messages(
    turn_request: TurnRequest,
    system: Sequence[ItemRow],
    earlier_items: Sequence[ItemRow],
    new_entries: Sequence[Entry],
) -> list[JsonObject]:
    """Return all messages for the upstream: instructions, history and new items.

    Raises InvalidRequest when there is nothing to answer.
    """
    names = turn_request.tool_names
    old_entries: list[ItemLike] = [*system, *turn_request.instructions, *earlier_items]
    old = items_to_chat.entries_to_messages(old_entries, names)
    new = items_to_chat.entries_to_messages(exclude_instructions(new_entries), names)
    messages = pair_tool_calls([*old, *new], len(old))
    if not messages and not turn_request.settings.get("instructions"):
        raise InvalidRequest(
            "There is nothing to be answered.", param="input", code="missing_required_parameter"
        )
    return messages


def compose_unsaved_messages(turn_request: TurnRequest) -> list[JsonObject]:
    """Return the messages for the upstream of a request that is not saved.

    Raises UnknownUrl, InvalidRequest.
    """
    system, earlier_items, entries = load_unsaved_items(turn_request)
    return compose_messages(turn_request, system, earlier_items, entries)


def load_unsaved_items(
    turn_request: TurnRequest,
) -> tuple[list[ItemRow], list[ItemRow], list[Entry]]:
    """Return the items of a request that is not saved: instructions, history, and its own.

    The history is trimmed to the request's budget. Raises UnknownUrl, InvalidRequest.
    """
    conversation = find_continued_conversation(turn_request)
    new = NewRequestItems(turn_request.entries)
    earlier = load_earlier_items(conversation, turn_request, new)
    system = [] if turn_request.instructions else earlier.system
    entries = drop_repeated_entries(conversation, earlier.items, turn_request.entries)
    return system, earlier.items, entries


def find_resume(conversation: Conversation, turn: Turn) -> Resume | None:
    """Return where an upstream keeps the conversation, or None when it has missed a turn."""
    if conversation.token_id is None or not conversation.chat_id:
        return None
    if conversation.chat_turn != turn.number - 1:
        return None
    return Resume(conversation.token_id, conversation.chat_id, conversation.parent_id)
