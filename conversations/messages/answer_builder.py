"""Collect the chunks of an answer, and turn them into items when it has ended.

The chunks are streamed or one whole answer. A part becomes one item (reasoning, text or one call);
the parts are in the order in which they began. Texts are kept as lists of pieces, so that a reader
can continue from its place in each.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from django.conf import settings
from msgspec import Struct, field

from conversations.messages import items, items_to_chat
from conversations.messages.items import Entry
from providers.protocol.chunks import Chunk

# the usual fields of a chunk; all others are kept as extras
OPENAI_CHUNK_FIELDS = frozenset(
    """
    id object created model choices usage service_tier system_fingerprint obfuscation time_info
    status timings provider x_groq metadata
    """.split()
)


def measure_json_bytes(value: Any) -> int:
    """Return the bytes of a value as JSON."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return len(str(value))


class AnswerPart(Struct):
    """One item of an answer that is still coming in."""

    type: str  # reasoning, message or function_call
    id: str
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """True when nothing is missing, given that another part has followed.

        The pieces of several calls may alternate.
        """
        try:
            return self.type != "function_call" or isinstance(
                orjson.loads("".join(self.arguments) or "{}"), dict
            )
        except orjson.JSONDecodeError:
            return False

    def make_entry(self, *, is_whole: bool) -> Entry:
        """Return the item; `is_whole` is true when the answer is complete."""
        if self.type == "reasoning":
            entry = items.make_reasoning_entry("".join(self.text))
        elif self.type == "function_call":
            function = {"name": self.name, "arguments": "".join(self.arguments)}
            entry = items.make_call_entry({"id": self.call_id, "function": function})
        else:
            entry = self._make_message_entry()
        entry.output = True
        entry.status = "completed" if is_whole else "incomplete"
        return entry.make_storable()

    def _make_message_entry(self) -> Entry:
        text = "".join(self.text)
        refusal = "".join(self.refusal)
        parts: list[dict[str, Any]] = []
        if text or not refusal:
            said = {"type": "output_text", "text": text, "annotations": self.annotations}
            parts.append(said | ({"logprobs": self.logprobs} if self.logprobs else {}))
        if refusal:
            parts.append({"type": "refusal", "refusal": refusal})
        data = {"type": "message", "role": "assistant", "content": parts}
        return Entry("message", "assistant", data, text or refusal)


PIECE_BYTES = 64  # of a piece of text, in addition to its characters
PART_BYTES = 1_024  # of a part, in addition to its pieces


class CollectedAnswer:
    """The first choice of an answer in `parts`; the other choices are in `other_choices`.

    Nothing is collected beyond STORED_ANSWER_BYTES. The answer is `can_continue` then, like one
    that has reached its limit of tokens.
    """

    def __init__(self, request_hex: str) -> None:
        self._bytes_left: int = settings.STORED_ANSWER_BYTES
        self.is_cut_off = False
        self._request_hex = request_hex
        self._call_parts: dict[int, AnswerPart] = {}
        self.parts: list[AnswerPart] = []
        self.other_choices: dict[int, CollectedAnswer] = {}
        self.finish_reason = ""
        self.extras: dict[str, Any] = {}
        self.has_begun = False

    def add_chunks(self, batch: Iterable[Chunk]) -> None:
        """Add chunks to the answer."""
        for chunk in batch:
            self.has_begun = True
            if self.is_cut_off or self._is_too_long(chunk):
                self.is_cut_off = True
                self.finish_reason = "length"
                continue
            if not chunk.keys() <= OPENAI_CHUNK_FIELDS:
                self.extras.update(
                    {
                        name: value
                        for name, value in chunk.items()
                        if name not in OPENAI_CHUNK_FIELDS
                    }
                )
            for choice in chunk.get("choices") or ():
                index = choice.get("index") or 0
                mine = (
                    self
                    if not index
                    else self.other_choices.setdefault(index, CollectedAnswer(self._request_hex))
                )
                mine._add_choice(choice)

    def _is_too_long(self, chunk: Chunk) -> bool:
        """Return whether there is no room for the chunk; if there is, count it."""
        for choice in chunk.get("choices") or ():
            said = choice.get("message") or choice.get("delta") or {}
            for value in said.values():
                if value is not None:
                    self._bytes_left -= PIECE_BYTES + (
                        len(value) if isinstance(value, str) else measure_json_bytes(value)
                    )
            if logprobs := choice.get("logprobs"):
                self._bytes_left -= measure_json_bytes(logprobs)
        return self._bytes_left < 0

    def _add_choice(self, choice: dict[str, Any]) -> None:
        whole = "message" in choice
        said = (choice.get("message") if whole else choice.get("delta")) or {}
        if isinstance(thought := said.get("reasoning_content") or said.get("reasoning"), str):
            self._find_or_add_part("reasoning").text.append(thought)
        if isinstance(text := said.get("content"), str) and text:
            self._find_or_add_part("message").text.append(text)
        if isinstance(refusal := said.get("refusal"), str) and refusal:
            self._find_or_add_part("message").refusal.append(refusal)
        if annotations := said.get("annotations"):
            self._find_or_add_part("message").annotations.extend(annotations)
        if (logprobs := choice.get("logprobs")) and logprobs.get("content"):
            self._find_or_add_part("message").logprobs.extend(logprobs["content"])
        for place, call in enumerate(said.get("tool_calls") or ()):
            self._add_call(call.get("index", place) if not whole else place, call)
        if reason := choice.get("finish_reason"):
            self.finish_reason = reason

    def _find_or_add_part(self, kind: str) -> AnswerPart:
        if not self.parts or self.parts[-1].type != kind:
            self._bytes_left -= PART_BYTES
            self.parts.append(
                AnswerPart(kind, items.make_public_id(kind, self._request_hex, len(self.parts)))
            )
        return self.parts[-1]

    def _add_call(self, index: int, call: dict[str, Any]) -> None:
        part = self._call_parts.get(index)
        if part is None:
            part = AnswerPart(
                "function_call",
                items.make_public_id("function_call", self._request_hex, len(self.parts)),
            )
            part.call_id = call.get("id") or f"call_{self._request_hex}{index:02x}"
            self._call_parts[index] = part
            self.parts.append(part)
        function = call.get("function") or {}
        part.name += function.get("name") or ""
        if arguments := function.get("arguments"):
            part.arguments.append(arguments)

    def make_entries(self, *, is_whole: bool = True) -> list[Entry]:
        """Return the items of the answer.

        In an answer that broke off they are incomplete, except parts that another part has
        followed.
        """
        last = len(self.parts) - 1
        return [
            part.make_entry(is_whole=is_whole or (at < last and part.is_complete))
            for at, part in enumerate(self.parts)
        ]

    def render_other_choices(self) -> list[dict[str, Any]]:
        """Return the further choices: {"index", "message", "finish_reason"}."""
        found = []
        for index, other in sorted(self.other_choices.items()):
            messages = items_to_chat.entries_to_messages(other.make_entries())
            message = messages[0] if messages else {"role": "assistant", "content": ""}
            found.append(
                {"index": index, "message": message, "finish_reason": other.finish_reason or None}
            )
        return found
