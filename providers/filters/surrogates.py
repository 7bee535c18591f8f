"""Join characters that an upstream cut in two, over the chunks of a stream. No I/O.

Servers written in JavaScript cut text by UTF-16 units, so one chunk may end in a high surrogate and
the next one begin with its low half. A half alone is not a character; one that never finds its
other half becomes U+FFFD.
"""

from typing import Any

from providers.protocol.chunks import Chunk
from providers.wire.json_reader import repair_surrogates

TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")


class SurrogateJoiner:
    """The waiting halves, by choice and field. `join_surrogates` repairs a chunk in place."""

    __slots__ = ("waiting_surrogates",)

    def __init__(self) -> None:
        self.waiting_surrogates: dict[tuple[Any, ...], str] = {}

    def join_surrogates(self, chunk: Chunk) -> Chunk:
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._join_choice(choice)
        mended: Chunk = repair_surrogates(chunk)
        return mended

    def _join_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index")
        delta = choice.get("delta")
        last = choice.get("finish_reason") is not None
        self._join_field((index, "text"), choice, "text", last)
        if not isinstance(delta, dict):
            return
        for field in TEXT_FIELDS:
            self._join_field((index, field), delta, field, last)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                self._join_field(
                    (index, "call", call.get("index")), call["function"], "arguments", last
                )

    def _join_field(
        self, key: tuple[Any, ...], holder: dict[str, Any], field: str, is_last: bool
    ) -> None:
        said = holder.get(field)
        if not isinstance(said, str) and not (is_last and key in self.waiting_surrogates):
            return
        text = self.waiting_surrogates.pop(key, "") + (said or "")
        if text and "\ud800" <= text[-1] <= "\udbff" and not is_last:
            self.waiting_surrogates[key], text = text[-1], text[:-1]
        holder[field] = text
