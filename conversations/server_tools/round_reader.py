"""Read the rounds of one request: the chunks for the caller, and the calls of the model.

The rounds make one answer: its role comes once, usage is counted elsewhere, and only the last
finish reason is passed on. Calls of the gateway's own tools are taken out (`call_sorter.py`).
"""

from collections.abc import Iterable, Sequence

from conversations.messages import items_to_chat
from conversations.messages.answer_builder import CollectedAnswer
from conversations.server_tools.call_sorter import CallSorter
from conversations.server_tools.citations import CitationFinder, CitationSources
from conversations.server_tools.server_tool import ToolCall
from conversations.server_tools.tool_plan import ReadyTools
from providers.filters.conform import convert_to_chunks
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest

# with these reasons an answer may have ended within a call
TRUNCATING_REASONS = ("length", "content_filter")


class RoundReader:
    """The chunks of one answer, round by round.

    With `restarts_positions` the positions of annotations count from the beginning of the text of a
    round, otherwise from that of the whole answer.
    """

    def __init__(
        self,
        request: ChatRequest,
        tools: ReadyTools,
        sources: CitationSources,
        *,
        restarts_positions: bool,
    ) -> None:
        self._request = request
        self._tools = tools
        self._restarts_positions = restarts_positions
        self._finder = CitationFinder(sources)
        self._has_sent_role = False
        self._is_in_text = False  # the last thing that the caller got was text

    def begin_round(self) -> None:
        """Begin to read the next upstream answer."""
        self._answer = CollectedAnswer(self._request.id)
        self._sorter = CallSorter(lambda name: self._tools.find_tool(name) is not None)
        self._final_choice: Chunk | None = None

    def read_batch(self, batch: Iterable[Chunk]) -> list[Chunk]:
        """Return the chunks for the caller; a whole answer is read as the chunks of a stream."""
        caller_chunks: list[Chunk] = []
        for chunk in batch:
            is_whole = any("message" in choice for choice in chunk["choices"])
            for piece in convert_to_chunks(chunk) if is_whole else (chunk,):
                self._answer.add_chunks([piece])
                caller_chunks += self._read_chunk(piece)
        return caller_chunks

    def _read_chunk(self, chunk: Chunk) -> list[Chunk]:
        """Return the chunks for the caller of one chunk; keep its finish reason."""
        chunk = {name: value for name, value in chunk.items() if name != "usage"}
        if not chunk["choices"]:
            return []
        choice = chunk["choices"][0]
        caller_chunks: list[Chunk] = []
        delta = self._select_fields(choice.get("delta") or {})
        text = delta.get("content")
        if self._restarts_positions and self._is_in_text and delta and not text:
            caller_chunks += self._make_annotations(self._finder.finish())
        self._is_in_text = bool(text) or (self._is_in_text and not delta)
        if delta or choice.get("logprobs"):
            caller_chunks.append(
                replace_choice(chunk, choice | {"delta": delta, "finish_reason": None})
            )
        if text:
            caller_chunks += self._make_annotations(self._finder.read_piece(text))
        if choice.get("finish_reason"):
            self._final_choice = replace_choice(chunk, choice | {"delta": {}, "logprobs": None})
        return caller_chunks

    def _select_fields(self, delta: JsonObject) -> JsonObject:
        """Return the fields of a delta that the caller gets."""
        fields = {name: value for name, value in delta.items() if value is not None}
        calls = self._sorter.sort_parts(fields.pop("tool_calls", ()))
        if calls:
            fields["tool_calls"] = calls
        if not fields.get("content"):
            fields.pop("content", None)
        role = fields.pop("role", None)
        if fields and not self._has_sent_role:
            self._has_sent_role = True
            fields = {"role": role or "assistant", **fields}
        return fields

    def _make_annotations(self, annotations: Sequence[JsonObject]) -> list[Chunk]:
        """Return a chunk with these annotations, none without any."""
        if not annotations:
            return []
        return [make_delta(self._request, annotations=annotations)]

    # --- the end of a round -----------------------------------------------------------------------
    def finish_round(self) -> list[Chunk]:
        """Return the chunks that waited for the end of the round; its finish reason is kept."""
        caller_chunks: list[Chunk] = []
        if calls := self._sorter.finish():
            caller_chunks.append(make_delta(self._request, **self._select_role(), tool_calls=calls))
        if self._restarts_positions:
            caller_chunks = [*self._make_annotations(self._finder.finish()), *caller_chunks]
            self._is_in_text = False
        return caller_chunks

    def _select_role(self) -> JsonObject:
        """Return the field of the role, which an answer has once."""
        if self._has_sent_role:
            return {}
        self._has_sent_role = True
        return {"role": "assistant"}

    @property
    def has_caller_calls(self) -> bool:
        return self._sorter.has_caller_calls

    def list_server_calls(self) -> list[ToolCall]:
        """Return the calls that the gateway is to run; none when the answer was cut off."""
        if self._answer.finish_reason in TRUNCATING_REASONS:
            return []
        return [
            ToolCall(part.call_id, part.name, "".join(part.arguments) or "{}")
            for part in self._answer.parts
            if part.type == "function_call" and self._tools.find_tool(part.name) is not None
        ]

    def build_messages(self) -> list[JsonObject]:
        """Return the round's answer as messages of the model."""
        return items_to_chat.entries_to_messages(self._answer.make_entries())

    def make_final_chunks(self) -> list[Chunk]:
        """Return the last chunks of the answer, with its finish reason."""
        reason = self._answer.finish_reason or "stop"
        if reason in ("tool_calls", "function_call") and not self.has_caller_calls:
            reason = "stop"
        caller_chunks = self._make_annotations(self._finder.finish())
        final = self._final_choice or make_delta(self._request, finish_reason=reason)
        choice = final["choices"][0] | {"finish_reason": reason}
        if not self._has_sent_role:
            choice["delta"] = {"role": "assistant", "content": ""}
        return [*caller_chunks, replace_choice(final, choice)]


def replace_choice(chunk: Chunk, choice: JsonObject) -> Chunk:
    """Return the chunk with this choice in place of its own."""
    return chunk | {"choices": [choice]}
