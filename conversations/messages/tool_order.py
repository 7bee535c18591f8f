"""Put each answer of a tool directly behind its call; upstreams refuse any other order.

Items may come in any order, clients put new questions between call and answer, and upstreams use an
id twice. So an answer belongs to the last call of that id before it, else to the first one after
it. Calls without an answer are left out. Clients also bring answers twice: the last one counts.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

# fields that are left out of a message whose calls have no answer
CALL_FIELDS = ("tool_calls", "reasoning_content")
SHOWN_ID_CHARS = 64  # characters of an unknown id that an error repeats
CallPlace = tuple[int, int]  # index of a message, and number of the call in it


def pair_tool_calls(messages: Sequence[JsonObject], first_own: int = 0) -> list[JsonObject]:
    """Return the messages in that order.

    Those from index `first_own` on are the request's own: an answer among them that belongs to no
    call raises InvalidRequest; an older one is left out.
    """
    answer_indexes = match_tool_answers(messages, first_own)
    ordered: list[JsonObject] = []
    for index, message in enumerate(messages):
        if message.get("tool_calls"):
            ordered += list_answered_calls(messages, index, answer_indexes)
        elif message["role"] != "tool":
            ordered.append(message)
    return ordered


def list_answered_calls(
    messages: Sequence[JsonObject], index: int, answer_indexes: Mapping[CallPlace, int]
) -> list[JsonObject]:
    """Return the message at `index` with those calls that have an answer, and their answers.

    Without any it is the message's text, if there is one.
    """
    message = messages[index]
    calls = []
    answers = []
    for number, call in enumerate(message["tool_calls"]):
        if (index, number) in answer_indexes:
            calls.append(call)
            answers.append(messages[answer_indexes[index, number]])
    if calls:
        return [{**message, "tool_calls": calls}, *answers]
    if message.get("content"):
        return [{name: value for name, value in message.items() if name not in CALL_FIELDS}]
    return []


def match_tool_answers(messages: Sequence[JsonObject], first_own: int) -> dict[CallPlace, int]:
    """Return the index of the answer to each call that has one.

    Raises InvalidRequest for an answer from `first_own` on without a call.
    """
    places_by_id = list_call_places(messages)
    own_counts = count_own_answers(messages, first_own)
    answer_indexes: dict[CallPlace, int] = {}
    for index, message in enumerate(messages):
        if message["role"] != "tool":
            continue
        call_id = message.get("tool_call_id") or ""
        places = places_by_id[call_id]
        if not places and index >= first_own:
            raise unknown_call(message)
        open_places = [place for place in places if place not in answer_indexes]
        if index >= first_own:
            own_counts[call_id] -= 1
            if own_counts[call_id] >= len(open_places):
                continue  # it comes again: as many answers follow as there are open calls
        earlier_places = [place for place in open_places if place[0] < index]
        if earlier_places:
            answer_indexes[earlier_places[-1]] = index
        elif open_places:
            answer_indexes[open_places[0]] = index
    return answer_indexes


def count_own_answers(messages: Sequence[JsonObject], first_own: int) -> Counter[str]:
    """Return how many of the request's own answers there are to each id."""
    return Counter(
        message.get("tool_call_id") or ""
        for message in messages[first_own:]
        if message["role"] == "tool"
    )


def list_call_places(messages: Sequence[JsonObject]) -> defaultdict[str, list[CallPlace]]:
    """Return the places of all tool calls by their id, in the order of the messages."""
    places_by_id: defaultdict[str, list[CallPlace]] = defaultdict(list)
    for index, message in enumerate(messages):
        for number, call in enumerate(message.get("tool_calls") or ()):
            places_by_id[call["id"]].append((index, number))
    return places_by_id


def unknown_call(message: JsonObject) -> InvalidRequest:
    """Return the error for a tool's answer without a call."""
    call_id = str(message.get("tool_call_id"))[:SHOWN_ID_CHARS]
    return InvalidRequest(
        f"No tool call was made with the id {call_id!r}.", param="input", code="call_not_found"
    )
