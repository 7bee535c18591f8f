"""Put each answer of a tool directly behind its call; upstreams refuse any other order.

Items may come in any order, clients put new questions between call and answer, and upstreams use an
id twice. So an answer belongs to the last call of that id before it, else to the first one after
it. Calls without an answer are left out.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from providers.exceptions import InvalidRequest

Message = dict[str, Any]


def pair_tool_calls(messages: Sequence[Message], first_own: int = 0) -> list[Message]:
    """Return the messages in that order.

    Those from index `first_own` on are the request's own: an answer among them that belongs to no
    call raises InvalidRequest; an older one is left out.
    """
    places = match_tool_answers(messages, first_own)
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
            told.append({name: value for name, value in message.items() if name not in CALL_FIELDS})
    return told


# fields that are left out of a message whose calls have no answer
CALL_FIELDS = (
    "tool_calls",
    "reasoning_content",
)


def match_tool_answers(messages: Sequence[Message], first_own: int) -> dict[tuple[int, int], int]:
    """Return the answer of each call: (message, number of the call) -> message.

    Raises InvalidRequest for an answer from `first_own` on without a call.
    """
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
        elif at >= first_own:
            named = str(message.get("tool_call_id"))[:64]
            raise InvalidRequest(
                f"No tool call was made with the id {named!r}.",
                param="input",
                code="call_not_found",
            )
    return found
