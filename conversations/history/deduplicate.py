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

from conversations.history.context import Line
from conversations.messages.items import Entry, Said
from providers.protocol.message_text import SYSTEM_ROLES, join_texts

Mark = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """The new items of a request.

    `after` is the turn from which the conversation continues when later turns are to be replaced.
    """

    new: list[Entry]
    after: UUID | None = None


def counts(said: Said) -> bool:
    """Return whether an item is compared.

    Instructions are handled on their own, and clients rarely send reasoning back.
    """
    return said.type != "reasoning" and said.role not in SYSTEM_ROLES


def digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()


def mark(said: Said, text: str, told: str = "") -> Mark:
    """Return a value that is equal for two items that are the same.

    For an assistant message only the text counts, as the caller received it. `told` is the SHA-256
    of that text when it differs from the stored text.
    """
    data = said.data
    if said.type == "function_call":
        return said.type, data["call_id"], data["name"]
    if said.type == "function_call_output":
        return said.type, data.get("call_id"), join_texts(data.get("output"))
    if said.type == "message" and said.role == "assistant":
        return said.type, said.role, told or digest(text)
    return said.type, said.role, orjson.dumps(data.get("content"), option=orjson.OPT_SORT_KEYS)


def of_line(item: Line) -> Mark:
    return mark(item, item.text, item.told)


def of_entry(entry: Entry) -> Mark:
    return mark(entry, entry.text)


def same(known: Sequence[Line], told: Sequence[Entry]) -> bool:
    """Return whether the new items repeat the known ones exactly."""
    return [of_line(item) for item in known] == [of_entry(entry) for entry in told]


def beyond(last: Sequence[Line], first: Sequence[Line], told: Sequence[Entry]) -> Heard:
    """Return which items of `told`, the request's items, are new.

    `last` and `first` are the last and the first items of the conversation, each in their order, as
    many as there are in `told`. At least the last item of `told` is always new.
    """
    heard = [entry for entry in told if entry.role not in SYSTEM_ROLES]
    counted = [at for at, entry in enumerate(heard) if counts(entry)]
    marks = [of_entry(heard[at]) for at in counted]
    if length := longest(marks[:-1], [of_line(item) for item in last]):
        return Heard(heard[counted[length - 1] + 1 :])
    kept = turned_back(first, marks[:-1])
    if kept:
        return Heard(heard[counted[kept - 1] + 1 :], first[kept - 1].turn_id)
    return Heard(heard)


def longest(prefix: Sequence[Mark], text: Sequence[Mark]) -> int:
    """Return the length of the longest start of `prefix` with which `text` ends.

    Uses the failure function of Knuth, Morris and Pratt.
    """
    joined: list[Mark | None] = [*prefix, None, *text]
    fails = [0] * len(joined)
    for at in range(1, len(joined)):
        length = fails[at - 1]
        while length and joined[at] != joined[length]:
            length = fails[length - 1]
        fails[at] = length + (joined[at] == joined[length])
    return fails[-1] if text and prefix else 0


def turned_back(first: Sequence[Line], marks: Sequence[Mark]) -> int:
    """Return how many of the conversation's first items the request repeats.

    Only whole answered turns count; the result is 0 when not even one is repeated.
    """
    kept = 0
    for at, (item, told) in enumerate(zip(first, marks, strict=False), 1):
        if of_line(item) != told:
            break
        ends = at == len(first) or first[at].turn_id != item.turn_id
        if item.output and ends:
            kept = at
    return kept
