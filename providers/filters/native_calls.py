"""Make the tool calls of upstreams that support them conform. No I/O.

Guarantees: every part has an index, numbered from 0 without gaps; the first part of a call, and
only it, has id, type and name; ids are unique and do not change; arguments are text, and `{}` where
there are none. A call is held back until its name has come; one whose name never comes is dropped.
Calls of other types than functions (OpenAI's `custom`), and fields of a call that OpenAI does not
have (Gemini's `extra_content`), are passed on. Two calls that an upstream puts at one index are
told apart: by another id, or by a name after complete arguments.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from uuid import uuid4

import orjson

from providers.protocol.json_types import JsonObject

# fields of a part that only the first part of a call has
IDENTITY_FIELDS = ("id", "type", "index")


@dataclass(slots=True)
class StreamedCall:
    """One call of a stream, as far as it has come.

    `kind` is the field that holds its name: "function", "custom" or "" as long as neither came.
    `held_fields` are other fields that came before the name. `sent_index` is its number among the
    calls passed on.
    """

    id: str
    kind: str = ""
    name: str = ""
    upstream_id: str = ""
    sent_index: int = -1
    pieces: list[str] = field(default_factory=list)  # of its arguments
    sent_pieces: int = 0
    held_fields: JsonObject = field(default_factory=dict)
    # its name came again after its arguments were complete: more of them begin another call
    has_repeated_name: bool = False

    @property
    def has_complete_arguments(self) -> bool:
        """Return whether its arguments are an object to its end."""
        return is_json_object("".join(self.pieces))

    @property
    def unsent_text(self) -> str:
        """Return the arguments that were held back until the name came."""
        return "".join(self.pieces[self.sent_pieces :])


def is_json_object(text: str) -> bool:
    """Return whether a text is the JSON of an object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


# the field of a call that holds its name -> the field in it that holds its arguments
CONTENT_FIELDS = {"function": "arguments", "custom": "input"}


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
        conformed: list[JsonObject] = []
        for part in parts:
            if isinstance(part, dict):
                self._conform_part(part, conformed)
        return conformed

    def complete_calls(self) -> list[JsonObject]:
        """Return parts that give `{}` to the functions that have no arguments at the end."""
        parts = [part for call in self._calls.values() if (part := complete_arguments(call))]
        return sorted(parts, key=lambda part: int(part["index"]))

    @property
    def has_complete_calls(self) -> bool:
        """Return whether there are calls, all of them complete."""
        calls = [call for call in self._calls.values() if call.sent_index >= 0]
        return bool(calls) and all(
            call.kind != "function" or not call.pieces or call.has_complete_arguments
            for call in calls
        )

    def _conform_part(self, part: JsonObject, conformed: list[JsonObject]) -> None:
        """Add the part as it is passed on; nothing if it is no call or its name has not come."""
        kind = find_kind(part)
        content = part[kind] if kind else {}
        upstream_id = as_string(part.get("id"))
        name = as_string(content.get("name"))
        text = arguments_text(content.get(CONTENT_FIELDS[kind])) if kind else ""
        index = self._find_index(part.get("index"), upstream_id, name)
        call = self._calls.get(index)
        if call is not None and begins_another_call(call, upstream_id, name, text):
            if completing := complete_arguments(call):
                conformed.append(completing)
            if call.has_repeated_name and not upstream_id:
                name = name or call.name
            call = None
        if call is None:
            if not kind and not upstream_id:
                return
            call = self._create_call(index, upstream_id)
        self._last_index = index
        call.kind = call.kind or kind
        if text:
            call.pieces.append(text)
        if call.sent_index < 0 and not name:
            call.held_fields |= select_other_fields(part, kind)
            return
        conformed.append(self._build_part(call, part, content, name))

    def _build_part(
        self, call: StreamedCall, part: JsonObject, content: JsonObject, name: str
    ) -> JsonObject:
        """Return a part of a call whose name is known; its first part has all that was held."""
        text = call.unsent_text
        call.sent_pieces = len(call.pieces)
        text_field = CONTENT_FIELDS[call.kind]
        other_fields = call.held_fields | select_other_fields(part, call.kind)
        call.held_fields = {}
        if call.sent_index < 0:
            call.name = name
            call.sent_index = self.sent_count
            self.sent_count += 1
            identity = {"index": call.sent_index, "id": call.id, "type": call.kind}
            return identity | other_fields | {call.kind: content | {"name": name, text_field: text}}
        new_content: JsonObject = {
            key: value for key, value in content.items() if key not in ("name", text_field)
        }
        if name and name != call.name:
            new_content["name"] = name
        elif name and call.has_complete_arguments:
            call.has_repeated_name = True
        if content or text:
            other_fields |= {call.kind: new_content | {text_field: text}}
        return {"index": call.sent_index} | other_fields

    def _create_call(self, index: int, upstream_id: str) -> StreamedCall:
        call_id = choose_call_id(upstream_id, self._indexes_by_id)
        earlier = self._calls.get(index)
        if earlier is not None:  # it is complete: keep it where no index of the upstream's leads to
            self._calls[-1 - len(self._calls)] = earlier
        call = self._calls[index] = StreamedCall(call_id, upstream_id=upstream_id)
        self._indexes_by_id[call_id] = index
        self._next_index = max(self._next_index, index + 1)
        return call

    def _find_index(self, index: object, upstream_id: str, name: str) -> int:
        """Return the upstream's index, or else one found by the id or the name.

        Without an index it is the index of a known id, a new index for a new call, or that of the
        last part.
        """
        if type(index) is int and index >= 0:
            return index
        if upstream_id and upstream_id in self._indexes_by_id:
            return self._indexes_by_id[upstream_id]
        if name or upstream_id or not self._calls:
            return self._next_index
        return self._last_index


def begins_another_call(call: StreamedCall, upstream_id: str, name: str, text: str) -> bool:
    """Return whether a part at the index of a call belongs to another call.

    Some upstreams repeat id or name in later parts, or give each part an id of its own.
    """
    if call.sent_index < 0 or (upstream_id and upstream_id == call.upstream_id):
        return False
    has_other_id = bool(upstream_id and call.upstream_id and upstream_id != call.upstream_id)
    has_other_name = bool(name and name != call.name)
    if name and has_other_id:
        return True
    is_further = has_other_id or has_other_name or bool(name and text.strip())
    is_further = is_further or (call.has_repeated_name and bool(text.strip()))
    return is_further and call.has_complete_arguments


def complete_arguments(call: StreamedCall) -> JsonObject | None:
    """Return a part with `{}` if a function that was passed on has no arguments; note them."""
    if call.sent_index < 0 or call.kind != "function" or "".join(call.pieces).strip():
        return None
    call.pieces.append("{}")
    call.sent_pieces = len(call.pieces)
    return {"index": call.sent_index, "function": {"arguments": "{}"}}


def find_kind(call: JsonObject) -> str:
    """Return the field of a call or of its part that holds its name, empty if there is none."""
    return next((name for name in CONTENT_FIELDS if isinstance(call.get(name), dict)), "")


def as_string(value: object) -> str:
    """Return the value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def select_other_fields(part: JsonObject, kind: str) -> JsonObject:
    """Return the fields of a part besides its identity and its content."""
    return {
        name: value for name, value in part.items() if name not in IDENTITY_FIELDS and name != kind
    }


def conform_whole_calls(calls: object) -> list[JsonObject]:
    """Return the valid calls of a whole message, made to conform; nameless ones are left out."""
    if not isinstance(calls, list):
        return []
    conformed: list[JsonObject] = []
    used_ids: set[str] = set()
    for call in calls:
        if not isinstance(call, dict):
            continue
        kind = find_kind(call)
        content = call.get(kind) or {}
        if not as_string(content.get("name")):
            continue
        call_id = choose_call_id(call.get("id"), used_ids)
        used_ids.add(call_id)
        text_field = CONTENT_FIELDS[kind]
        text = arguments_text(content.get(text_field))
        if kind == "function" and not text.strip():
            text = "{}"
        identity = {"id": call_id, "type": kind}
        conformed.append({**call, **identity, kind: {**content, text_field: text}})
    return conformed


def choose_call_id(upstream_id: object, used_ids: Container[str]) -> str:
    """Return the upstream's id if it is a new one, else an id of our own."""
    if isinstance(upstream_id, str) and upstream_id and upstream_id not in used_ids:
        return upstream_id
    return generate_call_id()
