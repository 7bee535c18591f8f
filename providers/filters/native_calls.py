"""Make the tool calls of upstreams that support them conform. No I/O.

Guarantees: every part has an index, numbered from 0 without gaps; the first part of a call, and
only it, has id, type and name; ids are unique and do not change; arguments are text. A call is held
back until its name has come. Parts that are not a call are dropped.
"""

from collections.abc import Container
from dataclasses import dataclass
from uuid import uuid4

import orjson

from providers.protocol.json_types import JsonObject


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


def arguments_text(value: object) -> str:
    """Return arguments as the JSON text that they should be, empty if there are none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def generate_call_id() -> str:
    """Return a new id in the form of OpenAI's."""
    return f"call_{uuid4().hex[:24]}"


class CallConformer:
    """The calls of one choice of a streamed answer; `sent_count` is the number of calls passed on.

    Calls are numbered in the order in which they are passed on, without gaps, whatever index the
    upstream gave them.
    """

    __slots__ = ("_calls", "_indexes_by_id", "_last_index", "_next_index", "sent_count")

    def __init__(self) -> None:
        # by the upstream's index, or a new one without it
        self._calls: dict[int, StreamedCall] = {}
        self._indexes_by_id: dict[str, int] = {}  # the same index, by the call's id
        self._last_index = 0
        self._next_index = 0
        self.sent_count = 0

    def conform_parts(self, parts: object) -> list[JsonObject]:
        """Return the conforming parts of one delta's `tool_calls`."""
        if not isinstance(parts, list):
            return []
        conformed = (self._conform_part(part) for part in parts if isinstance(part, dict))
        return [part for part in conformed if part is not None]

    def _conform_part(self, part: JsonObject) -> JsonObject | None:
        """Return the part as it is passed on; None if it is no call or its name has not come."""
        function = part.get("function")
        if not isinstance(function, dict):
            return None
        upstream_id = part.get("id")
        name = function.get("name")
        if not isinstance(name, str):
            name = ""
        index = self._last_index = self._find_index(part.get("index"), upstream_id, name)
        call = self._calls.get(index)
        if call is None:
            call = self._create_call(index, upstream_id)
        call.held_arguments += arguments_text(function.get("arguments"))
        if not call.name and not name:
            return None
        arguments = call.held_arguments
        call.held_arguments = ""
        if not call.name:
            call.name = name
            call.sent_index = self.sent_count
            self.sent_count += 1
            identity = {"index": call.sent_index, "id": call.id, "type": "function"}
            return part | identity | {"function": function | {"name": name, "arguments": arguments}}
        conformed_function = {"arguments": arguments}
        if name and name != call.name:
            conformed_function = {"name": name, "arguments": arguments}
        conformed = {key: value for key, value in part.items() if key not in ("id", "type")}
        return conformed | {"index": call.sent_index, "function": conformed_function}

    def _create_call(self, index: int, upstream_id: object) -> StreamedCall:
        call_id = choose_call_id(upstream_id, self._indexes_by_id)
        call = self._calls[index] = StreamedCall(call_id)
        self._indexes_by_id[call_id] = index
        self._next_index = max(self._next_index, index + 1)
        return call

    def _find_index(self, index: object, upstream_id: object, name: str) -> int:
        """Return the upstream's index, or else one found by the id or the name.

        Without an index it is the index of a known id, a new index for a new call, or that of the
        last part.
        """
        if type(index) is int:
            return index
        if isinstance(upstream_id, str) and upstream_id in self._indexes_by_id:
            return self._indexes_by_id[upstream_id]
        if name or upstream_id or not self._calls:
            return self._next_index
        return self._last_index


def conform_whole_calls(calls: object) -> list[JsonObject]:
    """Return the valid calls of a whole message, made to conform."""
    if not isinstance(calls, list):
        return []
    conformed: list[JsonObject] = []
    used_ids: set[str] = set()
    for call in calls:
        if not isinstance(call, dict):
            continue
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        call_id = choose_call_id(call.get("id"), used_ids)
        used_ids.add(call_id)
        arguments = arguments_text(function.get("arguments")) or "{}"
        conformed.append(
            {
                **call,
                "id": call_id,
                "type": "function",
                "function": {**function, "arguments": arguments},
            }
        )
    return conformed


def choose_call_id(upstream_id: object, used_ids: Container[str]) -> str:
    """Return the upstream's id if it is a new one, else an id of our own."""
    if isinstance(upstream_id, str) and upstream_id and upstream_id not in used_ids:
        return upstream_id
    return generate_call_id()
