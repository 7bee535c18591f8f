"""Join characters that an upstream cut in two, over the chunks of a stream. No I/O.

Servers written in JavaScript cut text by UTF-16 units, so one chunk may end in a high surrogate and
the next one begin with its low half. A half alone is not a character; one that never finds its
other half becomes U+FFFD.
"""

from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.wire.json_reader import repair_surrogates

FieldKey = tuple[object, ...]  # the choice, the field and perhaps the call
TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")


class SurrogateJoiner:
    """The waiting halves, by choice and field. `join_surrogates` repairs a chunk in place."""

    __slots__ = ("waiting_surrogates",)

    def __init__(self) -> None:
        self.waiting_surrogates: dict[FieldKey, str] = {}

    def join_surrogates(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the pairs joined over chunks, and no lone surrogate."""
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                self._join_choice(choice)
        repaired_chunk: Chunk = repair_surrogates(chunk)
        return repaired_chunk

    def _join_choice(self, choice: object) -> None:
        if not isinstance(choice, dict):
            return
        index = choice.get("index")
        delta = choice.get("delta")
        is_last = choice.get("finish_reason") is not None
        self._join_field((index, "text"), choice, "text", is_last)
        if not isinstance(delta, dict):
            return
        for field in TEXT_FIELDS:
            self._join_field((index, field), delta, field, is_last)
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for call in calls:
                self._join_arguments(index, call, is_last)

    def _join_arguments(self, choice_index: object, call: object, is_last: bool) -> None:
        if isinstance(call, dict) and isinstance(call.get("function"), dict):
            key = (choice_index, "call", call.get("index"))
            self._join_field(key, call["function"], "arguments", is_last)

    def _join_field(self, key: FieldKey, holder: JsonObject, field: str, is_last: bool) -> None:
        piece = holder.get(field)
        if not isinstance(piece, str) and not (is_last and key in self.waiting_surrogates):
            return
        text = self.waiting_surrogates.pop(key, "") + (piece or "")
        if text and "\ud800" <= text[-1] <= "\udbff" and not is_last:
            self.waiting_surrogates[key] = text[-1]
            text = text[:-1]
        holder[field] = text
