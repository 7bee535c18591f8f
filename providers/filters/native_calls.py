"""Make the tool calls of upstreams that support them conform. No I/O.

Guarantees: every part has an index, numbered from 0 without gaps; the first part of a call, and
only it, has id, type and name; ids are unique and do not change; arguments are text. A call is held
back until its name has come. Parts that are not a call are dropped.
"""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson


@dataclass(slots=True)
class StreamedCall:
    """One call of a stream, as far as it has come.

    `held_arguments` are the arguments held back until the name comes; `sent_index` is its number
    among the calls passed on.
    """

    id: str
    name: str = ""
    held_arguments: str = ""
    sent_index: int = 0


def arguments_text(value: Any) -> str:
    """Return arguments as the JSON text that they should be."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def generate_call_id() -> str:
    return f"call_{uuid4().hex[:24]}"


class CallConformer:
    """The calls of one choice of a streamed answer; `sent_count` is the number of calls passed on.

    Calls are numbered in the order in which they are passed on, without gaps, whatever index the
    upstream gave them.
    """

    __slots__ = ("_calls", "_indexes_by_id", "_last_index", "_next_index", "sent_count")

    def __init__(self) -> None:
        self._calls: dict[
            int, StreamedCall
        ] = {}  # by the upstream's index, or a new one without it
        self._indexes_by_id: dict[str, int] = {}  # the same index, by the call's id
        self._last_index = 0
        self._next_index = 0
        self.sent_count = 0

    def conform_parts(self, parts: Any) -> list[dict[str, Any]]:
        """Return the conforming parts of one delta's `tool_calls`."""
        found = (
            [self._conform_part(part) for part in parts if isinstance(part, dict)]
            if isinstance(parts, list)
            else []
        )
        return [part for part in found if part is not None]

    def _conform_part(self, part: dict[str, Any]) -> dict[str, Any] | None:
        function = part.get("function")
        if not isinstance(function, dict):
            return None
        given = part.get("id")
        name = function.get("name")
        name = name if isinstance(name, str) else ""
        index = self._last_index = self._find_index(part.get("index"), given, name)
        call = self._calls.get(index)
        if call is None:
            call = self._create_call(index, given)
        call.held_arguments += arguments_text(function.get("arguments"))
        if not call.name and not name:
            return None
        first = not call.name
        later_name = {"name": name} if name and not first and name != call.name else {}
        call.name = call.name or name
        arguments = call.held_arguments
        call.held_arguments = ""
        if first:
            call.sent_index = self.sent_count
            self.sent_count = self.sent_count + 1
            own = {"index": call.sent_index, "id": call.id, "type": "function"}
            return part | own | {"function": function | {"name": name, "arguments": arguments}}
        rest = {key: value for key, value in part.items() if key not in ("id", "type")}
        return rest | {"index": call.sent_index, "function": {**later_name, "arguments": arguments}}

    def _create_call(self, index: int, upstream_id: Any) -> StreamedCall:
        own_id = (
            upstream_id
            if isinstance(upstream_id, str)
            and upstream_id
            and upstream_id not in self._indexes_by_id
            else generate_call_id()
        )
        call = self._calls[index] = StreamedCall(own_id)
        self._indexes_by_id[own_id] = index
        self._next_index = max(self._next_index, index + 1)
        return call

    def _find_index(self, index: Any, upstream_id: Any, name: str) -> int:
        """Return the upstream's index, or else one found by the id or the name.

        Without an index it is the index of a known id, a new index for a new call, or that of the
        last part.
        """
        if type(index) is int:
            return index
        if isinstance(upstream_id, str) and upstream_id in self._indexes_by_id:
            return self._indexes_by_id[upstream_id]
        return self._next_index if name or upstream_id or not self._calls else self._last_index


def conform_whole_calls(calls: Any) -> list[dict[str, Any]]:
    """Return the valid calls of a whole message, made to conform."""
    found: list[dict[str, Any]] = []
    taken: set[str] = set()
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        given = call.get("id")
        own_id = (
            given if isinstance(given, str) and given and given not in taken else generate_call_id()
        )
        taken.add(own_id)
        arguments = arguments_text(function.get("arguments")) or "{}"
        found.append(
            {
                **call,
                "id": own_id,
                "type": "function",
                "function": {**function, "arguments": arguments},
            }
        )
    return found
