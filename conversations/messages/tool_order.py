"""Calls of tools and their answers, each answer right behind its call: upstreams refuse anything
else.

Items may stand in any order, clients put new questions between the two, and upstreams use the same
id again: an answer belongs to the last call of that id before it, else to the first one after it. A
call that nobody answered is not told.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from providers.exceptions import InvalidRequest

Message = dict[str, Any]


def paired(messages: Sequence[Message], fresh: int = 0) -> list[Message]:
    """The messages in that order. Those from `fresh` on are the request's own: an answer among them
    that no call asked for raises InvalidRequest; an older one is left out.
    """
    places = answered(messages, fresh)
    told: list[Message] = []
    for at, message in enumerate(messages):
        calls = message.get("tool_calls")
        if not calls:
            if message["role"] != "tool":
                told.append(message)
            continue
        left = [
            (call, places[at, number])
            for number, call in enumerate(calls)
            if (at, number) in places
        ]
        if left:
            told.append({**message, "tool_calls": [call for call, _ in left]})
            told += [messages[place] for _, place in left]
        elif message.get("content"):
            told.append({name: value for name, value in message.items() if name not in UNCALLED})
    return told


UNCALLED = (
    "tool_calls",
    "reasoning_content",
)  # what a message whose calls nobody answered is told without


def answered(messages: Sequence[Message], fresh: int) -> dict[tuple[int, int], int]:
    """Where the answer to each call is: (message, number of the call) -> message."""
    calls: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for at, message in enumerate(messages):
        for number, call in enumerate(message.get("tool_calls") or ()):
            calls[call["id"]].append((at, number))
    found: dict[tuple[int, int], int] = {}
    for at, message in enumerate(messages):
        if message["role"] != "tool":
            continue
        free = [place for place in calls[message.get("tool_call_id") or ""] if place not in found]
        before = [place for place in free if place[0] < at]
        if before or free:
            found[before[-1] if before else free[0]] = at
        elif at >= fresh:
            named = str(message.get("tool_call_id"))[:64]
            raise InvalidRequest(
                f"No tool call was made with the id {named!r}.",
                param="input",
                code="call_not_found",
            )
    return found
