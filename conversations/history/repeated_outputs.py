"""Leave out of a response's input what the history before it has already.

A request that follows a response should bring the outputs of its calls and nothing else. Several
clients bring all outputs so far, the calls themselves, or the question once more beside them.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from conversations.history import context
from conversations.history.context import ItemRow
from conversations.history.deduplicate import make_entry_key, make_row_key
from conversations.messages.items import CALL_KINDS, OUTPUT_TYPES, Entry, ItemLike
from conversations.models import Conversation, Item


def drop_repeated_entries(
    conversation: Conversation, earlier: Sequence[ItemRow], entries: list[Entry]
) -> list[Entry]:
    """Return the request's items without those that the conversation has already.

    `earlier` are the earlier items that go to the model. Without outputs among the request's items
    nothing is left out: who says something twice means it.
    """
    if not earlier or not any(entry.type in OUTPUT_TYPES for entry in entries):
        return entries
    known_calls = {make_row_key(row) for row in earlier if row.type in CALL_KINDS}
    remaining = [
        entry
        for entry in entries
        if entry.type not in CALL_KINDS or make_entry_key(entry) not in known_calls
    ]
    open_calls = count_calls(earlier) - count_outputs(earlier)
    answers_earlier_call = any(read_call_id(entry) in open_calls for entry in remaining)
    remaining = drop_repeated_outputs(conversation, earlier, remaining)
    if answers_earlier_call:
        remaining = drop_repeated_question(earlier, remaining)
    return remaining


def drop_repeated_outputs(
    conversation: Conversation, earlier: Sequence[ItemRow], entries: Sequence[Entry]
) -> list[Entry]:
    """Return the items without outputs of calls that are answered.

    An id may belong to several calls, so the last outputs are kept, as many as calls are open.
    """
    calls = count_calls(earlier) + count_calls(entries)
    open_calls = calls - count_outputs(earlier)
    own_counts = count_outputs(entries)
    older_ids = find_called_ids(conversation, own_counts.keys() - calls.keys())
    remaining = []
    for entry in entries:
        call_id = read_call_id(entry)
        if entry.type in OUTPUT_TYPES and (call_id in calls or call_id in older_ids):
            own_counts[call_id] -= 1
            if own_counts[call_id] >= open_calls[call_id]:
                continue
        remaining.append(entry)
    return remaining


def drop_repeated_question(earlier: Sequence[ItemRow], entries: Sequence[Entry]) -> list[Entry]:
    """Return the items without the last question of the history, which is being answered."""
    questions = [make_row_key(row) for row in earlier if row.role == "user"]
    return [
        entry
        for entry in entries
        if entry.role != "user" or make_entry_key(entry) not in questions[-1:]
    ]


def count_calls(entries: Sequence[ItemLike]) -> Counter[str]:
    return Counter(read_call_id(entry) for entry in entries if entry.type in CALL_KINDS)


def count_outputs(entries: Sequence[ItemLike]) -> Counter[str]:
    return Counter(read_call_id(entry) for entry in entries if entry.type in OUTPUT_TYPES)


def read_call_id(entry: ItemLike) -> str:
    """Return the id of a call or an output; empty for other items."""
    return str(entry.data.get("call_id") or "")


def find_called_ids(conversation: Conversation, call_ids: Collection[str]) -> set[str]:
    """Return which of the ids belong to a call of the conversation, however long ago.

    Calls that no longer fit into the model's window count too.
    """
    called_ids: set[str] = set()
    current: Conversation | None = conversation
    while call_ids and current is not None:
        calls: list[Item] = list(
            context.select_history_items(current).filter(
                type__in=CALL_KINDS, data__call_id__in=list(call_ids)
            )
        )
        called_ids.update(item.data["call_id"] for item in calls)
        base = context.find_base_turn(current)
        current = base.conversation if base is not None else None
    return called_ids
