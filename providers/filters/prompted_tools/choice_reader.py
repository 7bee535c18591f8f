"""Turn the calls in the text and the thinking of one choice into tool calls. No I/O."""

from collections.abc import Iterable, Sequence

from providers.filters.native_calls import choose_call_id
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.thinking_calls import ThinkingCallReader
from providers.filters.prompted_tools.tool_prompt import ToolOffer
from providers.filters.prompted_tools.written_call import WrittenCall
from providers.protocol.dialect import UNMISTAKABLE_FORMS
from providers.protocol.json_types import JsonObject

Delta = JsonObject
MOST_WAITING_CHARS = 2**20  # most text held while a demanded call has not come
NORMAL_STOP_REASONS = ("stop", "tool_calls", "function_call")  # the model stopped by itself
THINKING_FIELDS = ("reasoning_content", "reasoning")


class ChoiceReader:
    """The state of one choice.

    `messages` are those of the request, whose calls have their ids already.
    """

    __slots__ = (
        "_indexes_by_upstream",
        "_messages",
        "_next_index",
        "_offer",
        "_scanner",
        "_thinking_field",
        "_thinking_reader",
        "_used_ids",
        "_waiting_chars",
        "_waiting_items",
        "_written_calls",
        "has_given_up",
    )

    def __init__(
        self, offer: ToolOffer, call_forms: frozenset[str], messages: Sequence[JsonObject] = ()
    ) -> None:
        self._offer = offer
        self._messages = messages
        self._scanner = CallScanner(
            offer.callable_tools, is_parallel=offer.is_parallel, call_forms=call_forms
        )
        self._thinking_reader = ThinkingCallReader(
            offer.callable_tools, call_forms & UNMISTAKABLE_FORMS
        )
        self._thinking_field = THINKING_FIELDS[0]  # the field in which thinking comes
        self._used_ids: set[str] | None = None  # ids of calls; read when one is needed
        self._next_index = 0  # index of the next call
        self._written_calls = 0  # calls that came as text
        self._indexes_by_upstream: dict[int, int] = {}  # of the upstream's own calls
        self._waiting_items: list[str | WrittenCall] | None = [] if offer.requires_call else None
        self._waiting_chars = 0
        self.has_given_up = False  # the held text became too long and was passed on without a call

    @property
    def has_calls(self) -> bool:
        """Return whether the answer has calls, also of the upstream's own."""
        return self._next_index > 0

    @property
    def lacks_call(self) -> bool:
        """Return whether a call was demanded and all text was held for one that did not come."""
        return self._offer.requires_call and not (self.has_calls or self.has_given_up)

    def choose_finish_reason(self, reason: str) -> str:
        """Return the finish reason, which names the calls if there are some in text or thinking."""
        if not self._written_calls or reason not in NORMAL_STOP_REASONS:
            return reason
        return "function_call" if self._offer.is_legacy else "tool_calls"

    # --- reading ----------------------------------------------------------------------------------
    def passes_plain(self, delta: Delta) -> bool:
        """Return whether a delta of one field goes out as it is; it counts as read then."""
        text = delta.get("content")
        if type(text) is str:
            return self._waiting_items is None and self._scanner.passes_plain(text)
        text = delta.get(self._thinking_field)
        return type(text) is str and self._thinking_reader.passes_plain(text)

    def read_delta(self, delta: Delta) -> list[Delta]:
        """Return the deltas that are decided now, with the other fields of `delta`."""
        text = delta.get("content")
        thinking_field = next((name for name in THINKING_FIELDS if delta.get(name)), "")
        deltas: list[Delta] = []
        if thinking_field:
            self._thinking_field = thinking_field
            delta = self._read_thinking(delta)
        has_content = delta.get("tool_calls") or (isinstance(text, str) and text.strip())
        if has_content and (released := self._thinking_reader.release_thinking()):
            deltas.append({self._thinking_field: released})
        if delta.get("tool_calls"):
            delta = delta | {"tool_calls": self._renumber_calls(delta["tool_calls"])}
        return deltas + self._read_content(delta)

    def _read_thinking(self, delta: Delta) -> Delta:
        """Return the delta with the thinking that goes out now."""
        thinking = delta[self._thinking_field]
        if not isinstance(thinking, str) or self._thinking_reader.passes_plain(thinking):
            return delta
        shown = self._thinking_reader.feed(thinking)
        if shown == thinking:
            return delta
        other_fields = {name: text for name, text in delta.items() if name not in THINKING_FIELDS}
        return other_fields | {self._thinking_field: shown} if shown else other_fields

    def _read_content(self, delta: Delta) -> list[Delta]:
        text = delta.get("content")
        if not isinstance(text, str) or not text:
            return [delta] if delta else []
        deltas = self._build_deltas(self._scanner.feed(text))
        other_fields = {name: value for name, value in delta.items() if name != "content"}
        if not other_fields:
            return deltas
        if deltas and not other_fields.keys() & deltas[0].keys():
            return [other_fields | deltas[0], *deltas[1:]]
        if "role" in other_fields:
            other_fields["content"] = None
        return [other_fields, *deltas]

    def finish_text(self, reason: str) -> list[Delta]:
        """Return the deltas of all that was held."""
        stops_normally = reason in NORMAL_STOP_REASONS
        deltas = self._build_deltas(self._scanner.finish_text(is_cut_off=not stops_normally))
        if stops_normally and not self.has_calls and not deltas:
            thinking, calls = self._thinking_reader.finish_thinking()
        else:
            thinking, calls = self._thinking_reader.release_thinking(), []
        if thinking:
            deltas.insert(0, {self._thinking_field: thinking})
        if not self._offer.is_parallel:
            calls = calls[:1]
        if calls:
            deltas += self._build_deltas(list(calls))
        if self._waiting_items:
            waiting_items = self._waiting_items
            self._waiting_items = None
            deltas += self._build_deltas(waiting_items)
        return deltas

    # --- calls ------------------------------------------------------------------------------------
    def _renumber_calls(self, parts: Iterable[JsonObject]) -> list[JsonObject]:
        """Return the parts of the upstream's own calls, numbered with the calls in the text."""
        renumbered = []
        for part in parts:
            index = self._indexes_by_upstream.get(part["index"])
            if index is None:
                index = self._indexes_by_upstream[part["index"]] = self._next_index
                self._next_index += 1
            renumbered.append(part | {"index": index})
        return renumbered

    def _build_deltas(self, items: Sequence[str | WrittenCall]) -> list[Delta]:
        """Return the items as deltas; none as long as they are held for a demanded call."""
        if self._waiting_items is not None:
            self._waiting_items += items
            self._waiting_chars += sum(len(item) for item in items if isinstance(item, str))
            if not any(isinstance(item, WrittenCall) for item in items):
                if self._waiting_chars <= MOST_WAITING_CHARS:
                    return []
                self.has_given_up = True
            items = self._waiting_items
            self._waiting_items = None
        return [
            {"content": item} if isinstance(item, str) else self._build_call_delta(item)
            for item in items
        ]

    def _build_call_delta(self, call: WrittenCall) -> Delta:
        function = {"name": call.name, "arguments": call.arguments}
        index = self._next_index
        self._next_index += 1
        self._written_calls += 1
        if self._offer.is_legacy:
            return {"function_call": function}
        call_id = self._choose_call_id(call.id)
        return {
            "tool_calls": [
                {"index": index, "id": call_id, "type": "function", "function": function}
            ]
        }

    def _choose_call_id(self, written_id: str) -> str:
        """Return the id that the model wrote if no other call has it, else one of our own."""
        if self._used_ids is None:
            self._used_ids = {
                str(call.get("id"))
                for message in self._messages
                for call in message.get("tool_calls") or ()
            }
        call_id = choose_call_id(written_id, self._used_ids)
        self._used_ids.add(call_id)
        return call_id
