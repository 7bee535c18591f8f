"""What a client repeats of a conversation: some send only what is new, some all that was said, some the end of it."""

from collections.abc import Sequence
from typing import Any

import orjson

from conversations.items import SYSTEM, Entry, Said, readable


def same(known: Said, told: Said) -> bool:
    """Whether they say the same. Of the model's own words only the text counts, which may have been told with steps of
    thinking in front.
    """
    one, other = mark(known), mark(told)
    if known.type == "message" and known.role == "assistant" and one[:2] == other[:2] and one[2]:
        return bool(other[2].endswith(one[2]))
    return one == other


def mark(entry: Said) -> tuple[Any, ...]:
    data = entry.data
    if entry.type == "function_call":
        return entry.type, data["call_id"], data["name"]
    if entry.type == "function_call_output":
        return entry.type, data.get("call_id"), readable(data.get("output") or "")
    if entry.type == "message" and entry.role == "assistant":
        return entry.type, entry.role, readable(data.get("content") or ()).strip()
    return entry.type, entry.role, orjson.dumps(data.get("content"), option=orjson.OPT_SORT_KEYS)


def beyond(known: Sequence[Said], told: Sequence[Entry]) -> list[Entry]:
    """Of what a client tells the part that is new: clients send only that, or all that was said before it, or the end
    of that. `known` ends with the last thing in the log, of `told` at least the last one is new.
    """
    compared = [entry for entry in known if entry.type != "reasoning" and entry.role not in SYSTEM]
    heard = [entry for entry in told if entry.role not in SYSTEM]
    counted = [entry for entry in heard if entry.type != "reasoning"]
    for length in range(min(len(compared), len(counted) - 1), 0, -1):
        if all(map(same, compared[-length:], counted[:length])):
            last = counted[length - 1]
            return heard[next(at for at, entry in enumerate(heard) if entry is last) + 1 :]
    return heard
