"""What a client repeats of a conversation: some send only what is new, some all that was said, some
the end of it; and some all up to a point from which they want to go on anew.
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
    """What of a request is new; `after`: the turn from which it goes on, when later ones are to be
    left behind.
    """

    new: list[Entry]
    after: UUID | None = None


def counts(said: Said) -> bool:
    """Whether it is compared: instructions are told apart from what is said, and thinking is rarely
    sent back.
    """
    return said.type != "reasoning" and said.role not in SYSTEM_ROLES


def digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()


def mark(said: Said, text: str, told: str = "") -> Mark:
    """What makes two items the same. Of the model's own words only the text counts, as its caller
    was told it.
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
    """Whether the one repeats the other."""
    return [of_line(item) for item in known] == [of_entry(entry) for entry in told]


def beyond(last: Sequence[Line], first: Sequence[Line], told: Sequence[Entry]) -> Heard:
    """What of `told` is new. `last` and `first`: the conversation's last and first items, in their
    order, as many as told; of what is told at least the last one is new.
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
    """How much of the beginning of `prefix` the end of `text` is, by the failure function of Knuth,
    Morris, Pratt.
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
    """How many of the conversation's first items are told again, up to the end of a whole turn that
    was answered; 0 when not even one turn is.
    """
    kept = 0
    for at, (item, told) in enumerate(zip(first, marks, strict=False), 1):
        if of_line(item) != told:
            break
        ends = at == len(first) or first[at].turn_id != item.turn_id
        if item.output and ends:
            kept = at
    return kept
