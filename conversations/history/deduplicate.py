"""Find which messages of a request are new.

A client may send only new messages, the whole history, its tail, or the history up to an earlier
turn from which it wants to continue (an edited question).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from conversations.history.context import ItemRow
from conversations.messages.items import CALL_KINDS, OUTPUT_TYPES, Entry, ItemLike
from providers.protocol.message_text import SYSTEM_ROLES, join_texts

ItemKey = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class NewRequestItems:
    """The new items of a request.

    `continues_after` is the turn from which the conversation continues when later turns are to be
    replaced; `last_number` is its number and `replaced_ids` are the later turns.
    """

    entries: list[Entry]
    continues_after: UUID | None = None
    last_number: int | None = None
    replaced_ids: tuple[UUID, ...] = ()


def is_compared(item: ItemLike) -> bool:
    """Return whether an item is compared.

    Instructions are handled on their own, and clients rarely send reasoning back.
    """
    return item.type != "reasoning" and item.role not in SYSTEM_ROLES


def hash_text(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()


def make_item_key(item: ItemLike, text: str, received_digest: str = "") -> ItemKey:
    """Return a value that is equal for two items that are the same.

    For an assistant message only the text counts, as the caller received it. `received_digest` is
    the SHA-256 of that text when it differs from the stored text.
    """
    data = item.data
    if item.type in CALL_KINDS:
        return item.type, data["call_id"], data["name"]
    if item.type == "tool_call":
        return item.type, orjson.dumps(data.get("call"), option=orjson.OPT_SORT_KEYS)
    if item.type in OUTPUT_TYPES:
        return item.type, data.get("call_id"), join_texts(data.get("output"))
    if item.type == "message" and item.role == "assistant":
        return item.type, item.role, received_digest or hash_text(text)
    return item.type, item.role, orjson.dumps(data.get("content"), option=orjson.OPT_SORT_KEYS)


def make_row_key(row: ItemRow) -> ItemKey:
    return make_item_key(row, row.text, row.received_digest)


def make_entry_key(entry: Entry) -> ItemKey:
    return make_item_key(entry, entry.text)


def repeats_items(known: Sequence[ItemRow], entries: Sequence[Entry]) -> bool:
    """Return whether the new items repeat the known ones exactly."""
    return [make_row_key(item) for item in known] == [make_entry_key(entry) for entry in entries]


def find_new_items(
    last: Sequence[ItemRow], first: Sequence[ItemRow], entries: Sequence[Entry]
) -> NewRequestItems:
    """Return which items of `entries`, the request's items, are new.

    `last` and `first` are the last and the first items of the conversation, each in their order, as
    many as there are in `entries`. At least the last item of `entries` is always new.
    """
    dialogue = [entry for entry in entries if entry.role not in SYSTEM_ROLES]
    compared = [index for index, entry in enumerate(dialogue) if is_compared(entry)]
    known_keys = [make_entry_key(dialogue[index]) for index in compared[:-1]]
    overlap = measure_overlap(known_keys, [make_row_key(row) for row in last])
    if overlap:
        return NewRequestItems(dialogue[compared[overlap - 1] + 1 :])
    repeated = count_repeated_items(first, known_keys)
    if repeated:
        new = dialogue[compared[repeated - 1] + 1 :]
        return NewRequestItems(new, first[repeated - 1].turn_id)
    return NewRequestItems(dialogue)


def measure_overlap(prefix: Sequence[ItemKey], keys: Sequence[ItemKey]) -> int:
    """Return the length of the longest start of `prefix` with which `keys` ends.

    Uses the failure function of Knuth, Morris and Pratt.
    """
    joined: list[ItemKey | None] = [*prefix, None, *keys]
    fails = [0] * len(joined)
    for index in range(1, len(joined)):
        length = fails[index - 1]
        while length and joined[index] != joined[length]:
            length = fails[length - 1]
        fails[index] = length + (joined[index] == joined[length])
    return fails[-1] if keys and prefix else 0


def count_repeated_items(first: Sequence[ItemRow], keys: Sequence[ItemKey]) -> int:
    """Return how many of the conversation's first items the request repeats.

    Only whole answered turns count; the result is 0 when not even one is repeated.
    """
    repeated = 0
    for count, (row, key) in enumerate(zip(first, keys, strict=False), 1):
        if make_row_key(row) != key:
            break
        ends_turn = count == len(first) or first[count].turn_id != row.turn_id
        if row.output and ends_turn:
            repeated = count
    return repeated
