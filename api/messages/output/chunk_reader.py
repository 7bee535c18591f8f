"""Read the choices of chat chunks into the blocks of a message.

Thinking comes as `reasoning_content`; what is signed of it also in `reasoning_details`, as
OpenRouter has them. Source of these: OpenRouter's documentation, "Reasoning tokens".
"""

from api.messages.output.message_blocks import BlockSequence
from api.messages.output.message_objects import STOP_REASONS, find_stop_text
from api.messages.request.answer_wishes import AnswerWishes
from api.messages.sealed_content import FORMAT, seal_fields
from conversations.messages.items import select_call_extras
from providers.filters.native_calls import CONTENT_FIELDS, find_kind
from providers.protocol.json_types import JsonObject


class ChunkReader:
    """Reads one answer into `blocks`; `stop_reason` is Anthropic's, known when it has ended."""

    __slots__ = ("_blocks", "_finish_reason", "_is_refusal", "_sealed", "_wishes", "stop_text")

    def __init__(self, blocks: BlockSequence, wishes: AnswerWishes) -> None:
        self._blocks = blocks
        self._wishes = wishes
        self._finish_reason = ""
        self._is_refusal = False
        self._sealed: list[JsonObject] = []  # details of thinking that have no block of their own
        self.stop_text: str | None = None  # the stop sequence that ended the answer

    @property
    def stop_reason(self) -> str:
        """Return Anthropic's stop reason of the answer so far."""
        if self._is_refusal:
            return "refusal"
        if self.stop_text is not None:
            return "stop_sequence"
        reason = STOP_REASONS.get(self._finish_reason, "end_turn")
        if reason == "end_turn" and self._blocks.has_calls:
            return "tool_use"
        return reason

    def read_choice(self, choice: JsonObject, delta: JsonObject) -> None:
        """Read one choice with its delta; of a whole answer, its message in the form of one."""
        self._read_thinking(delta)
        if text := delta.get("content"):
            self._seal_details()
            self._blocks.add_text(text)
        if refusal := delta.get("refusal"):
            self._is_refusal = True
            self._blocks.add_text(refusal)
        if calls := delta.get("tool_calls"):
            self.read_calls(calls)
        if (call := delta.get("function_call")) is not None:  # the form before `tool_calls`
            self._read_call({"index": 0, "function": call})
        for annotation in delta.get("annotations") or ():
            self._read_annotation(annotation)
        if choice.get("finish_reason") is not None:
            self.read_end(choice)

    def read_end(self, choice: JsonObject) -> None:
        """Read why a choice has ended."""
        self._finish_reason = choice["finish_reason"]
        if self._finish_reason == "stop":
            self.stop_text = find_stop_text(choice, self._wishes.stop_sequences)

    def close(self) -> None:
        """Close all blocks."""
        self._seal_details()
        self._blocks.close()

    # --- thinking ---------------------------------------------------------------------------------
    def _read_thinking(self, delta: JsonObject) -> None:
        """Read the thinking of a delta, where the caller gets it."""
        if not self._wishes.shows_thinking:
            return
        has_text = False
        for detail in delta.get("reasoning_details") or ():
            if isinstance(detail, dict):
                has_text = self._read_detail(detail) or has_text
        thinking = delta.get("reasoning_content")
        if thinking and not has_text:
            self._add_thinking(thinking, None)

    def _read_detail(self, detail: JsonObject) -> bool:
        """Read a detail of thinking; return whether its text has become a block."""
        is_signed = detail.get("format") in (FORMAT, None)
        if detail.get("type") == "reasoning.encrypted" and is_signed and detail.get("data"):
            self._blocks.add_redacted(str(detail["data"]))
            return False
        if detail.get("type") != "reasoning.text" or detail.get("format") != FORMAT:
            has_known_format = detail.get("format") not in (None, "unknown")
            if has_known_format and detail.get("type") != "reasoning.summary":
                self._sealed.append(detail)
            return False
        text = detail.get("text")
        if isinstance(text, str) and text:
            self._add_thinking(text, detail.get("index"))
        if signature := detail.get("signature"):
            self._blocks.add_signature(str(signature), detail.get("index"))
        return bool(text)

    def _add_thinking(self, text: str, detail_index: object) -> None:
        """Add a text of thinking, whose block may keep it out of sight."""
        is_shown = not self._wishes.omits_thinking_text
        self._blocks.add_thinking(text, detail_index, shown=is_shown)

    def _seal_details(self) -> None:
        """Keep what an upstream wants back of its thinking in a redacted block."""
        if self._sealed:
            self._blocks.add_redacted(seal_fields({"details": self._sealed}))
            self._sealed = []

    # --- calls and citations ----------------------------------------------------------------------
    def read_calls(self, calls: list[JsonObject]) -> None:
        """Read pieces of calls; of most only the arguments are new."""
        self._seal_details()
        for call in calls:
            function = call.get("function")
            if function is not None and len(call) == 2 and self._blocks.has_call(call["index"]):
                self._blocks.add_arguments(call["index"], function.get("arguments") or "")
            else:
                self._read_call(call)

    def _read_call(self, call: JsonObject) -> None:
        """Read a piece of a call that may begin it, or carry extra fields."""
        index = call.get("index") or 0
        kind = find_kind(call) or "function"
        content = call.get(kind) or {}
        if extras := select_call_extras(call):
            self._blocks.add_redacted(
                seal_fields({"calls": {str(call.get("id") or index): extras}})
            )
        if not self._blocks.has_call(index):
            call_id = call.get("id") or f"toolu_{index}"
            self._blocks.begin_call(index, call_id, content.get("name") or "")
        self._blocks.add_arguments(index, content.get(CONTENT_FIELDS[kind]) or "")

    def _read_annotation(self, annotation: JsonObject) -> None:
        """Read a source of the text, as web search gives them."""
        citation = annotation.get("url_citation") if isinstance(annotation, dict) else None
        if isinstance(citation, dict) and isinstance(citation.get("url"), str):
            self._blocks.add_citation(
                {
                    "type": "web_search_result_location",
                    "url": citation["url"],
                    "title": citation.get("title"),
                    "cited_text": citation.get("content") or "",
                    "encrypted_index": "",
                }
            )
