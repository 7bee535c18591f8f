"""Read the events of a streamed Message as OpenAI's chunks. No I/O.

The finish reason and the usage are held back until `message_stop`: a stream that ends without it
has broken off. With `is_native` each chunk carries the events of which it was made, and there is a
chunk for every event. Source: Anthropic's API reference, "Streaming messages".
"""

from collections.abc import Callable
from typing import Any

from providers.adapters.anthropic import whole_message
from providers.protocol.chunks import NATIVE, Chunk, make_delta, make_usage_chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest
from providers.wire.json_reader import read_raw_json, repair_surrogates

EventHandler = Callable[["MessageEvents", JsonObject], list[Chunk]]


class MessageEvents:
    """The state of one streamed Message, as `StreamReader` wants a dialect.

    `raise_error` raises the error that an event reports.
    """

    __slots__ = (
        "_block",
        "_call_count",
        "_citations",
        "_detail_index",
        "_ending",
        "_has_input",
        "_head",
        "_held_events",
        "_is_native",
        "_raise_error",
        "_request",
        "_text_length",
        "_text_start",
        "_usage",
        "over",
    )

    def __init__(
        self, request: ChatRequest, raise_error: Callable[[JsonObject], None], *, is_native: bool
    ) -> None:
        self._request = request
        self._head = make_delta(request)
        self._raise_error = raise_error
        self._is_native = is_native
        self._usage: JsonObject = {}
        self._block: JsonObject = {}  # the content block that is open
        self._has_input = False  # a piece of the open call's input has come
        self._call_count = 0
        self._detail_index = -1  # of the open block of thinking among all of them
        self._text_length = 0  # characters of the answer so far
        self._text_start = 0  # where the open block of text begins
        self._citations: list[JsonObject] = []  # of the open block
        self._ending: JsonObject = {}  # the delta that says why the message ends
        self._held_events: list[JsonObject] = []
        self.over = False

    def read(self, data: bytes) -> list[Chunk]:
        """Return the chunks of one event. Raises ValueError, UpstreamError."""
        event = read_raw_json(data)
        if not isinstance(event, dict):
            raise ValueError("The event is no JSON object.")
        kind = event.get("type")
        handler = HANDLERS.get(kind) if isinstance(kind, str) else None
        chunks = handler(self, event) if handler else []
        if self._is_native:
            return self._add_native(chunks, event, data)
        return chunks

    def close(self) -> list[Chunk]:
        """Return no chunks: the end of the bytes alone completes no Message."""
        return []

    def _add_native(self, chunks: list[Chunk], event: JsonObject, data: bytes) -> list[Chunk]:
        """Return the chunks, the first of them with its event and those that were held back."""
        if b"\\u" in data:
            event = repair_surrogates(event)
        if self._ending and not self.over:
            self._held_events.append(event)
            return []
        if not chunks:
            chunks = [self._make_chunk({})]
        chunks[0][NATIVE] = [*self._held_events, event]
        self._held_events = []
        return chunks

    def _make_chunk(self, delta: JsonObject, finish_reason: str | None = None) -> Chunk:
        """Return one chunk; all of an answer have the same id and time."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._head | {"choices": [choice]}

    # --- the message ------------------------------------------------------------------------------
    def _start_message(self, event: JsonObject) -> list[Chunk]:
        """Return the chunk with the role."""
        message = event.get("message")
        if isinstance(message, dict):
            self._add_usage(message.get("usage"))
        return [self._make_chunk({"role": "assistant", "content": ""})]

    def _end_message(self, event: JsonObject) -> list[Chunk]:
        """Keep why the message ends, and its usage, until its last event has come."""
        self._add_usage(event.get("usage"))
        delta = event.get("delta")
        if isinstance(delta, dict):
            self._ending |= {name: value for name, value in delta.items() if value is not None}
        return []

    def _stop_message(self, event: JsonObject) -> list[Chunk]:
        """Return the last chunks, with the finish reason and the usage."""
        if "stop_reason" not in self._ending:
            return []  # the reader finds that the finish reason is missing
        self.over = True
        fields: JsonObject = {}
        if self._ending["stop_reason"] == "refusal":
            details = self._ending.get("stop_details")
            fields["refusal"] = whole_message.read_refusal_text(details)
        reason = whole_message.choose_finish_reason(self._ending["stop_reason"])
        chunks = [self._make_chunk(fields, reason)]
        if usage := whole_message.convert_usage(self._usage):
            chunks.append(make_usage_chunk(self._request, usage))
        return chunks

    def _add_usage(self, usage: object) -> None:
        """Note counts: those of a later event replace earlier ones."""
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _report_error(self, event: JsonObject) -> list[Chunk]:
        """Raise the error that an event reports."""
        self._raise_error(event)
        return []

    # --- content blocks ---------------------------------------------------------------------------
    def _start_block(self, event: JsonObject) -> list[Chunk]:
        """Begin a content block; return the chunks of its first content."""
        block = event.get("content_block")
        self._block = block if isinstance(block, dict) else {}
        self._citations = []
        kind = self._block.get("type")
        if kind == "text":
            self._text_start = self._text_length
            return self._add_text(self._block.get("text"))
        if kind == "thinking":
            self._detail_index += 1
            chunks = self._add_thinking(self._block.get("thinking"))
            return chunks + self._add_signature(self._block.get("signature"))
        if kind == "redacted_thinking":
            self._detail_index += 1
            data = self._block.get("data")
            detail = whole_message.make_redacted_detail(self._detail_index, data)
            return [self._make_chunk({"reasoning_details": [detail]})]
        if kind == "tool_use":
            return self._start_call()
        return []

    def _start_call(self) -> list[Chunk]:
        """Return the chunk that begins a call."""
        self._has_input = False
        self._call_count += 1
        call = {
            "index": self._call_count - 1,
            "id": self._block.get("id"),
            "type": "function",
            "function": {"name": self._block.get("name"), "arguments": ""},
        }
        return [self._make_chunk({"tool_calls": [call]})]

    def _continue_block(self, event: JsonObject) -> list[Chunk]:
        """Return the chunks of a delta of the open block."""
        delta = event.get("delta")
        kind = delta.get("type") if isinstance(delta, dict) else None
        if not isinstance(delta, dict):
            return []
        if kind == "text_delta":
            return self._add_text(delta.get("text"))
        if kind == "input_json_delta":
            return self._add_input(delta.get("partial_json"))
        if kind == "thinking_delta":
            return self._add_thinking(delta.get("thinking"))
        if kind == "signature_delta":
            return self._add_signature(delta.get("signature"))
        if kind == "citations_delta":
            self._citations.append(delta.get("citation") or {})
        return []

    def _stop_block(self, event: JsonObject) -> list[Chunk]:
        """Return the chunks that a block has at its end: citations, or an input that came whole."""
        block = self._block
        self._block = {}
        kind = block.get("type")
        if kind == "tool_use" and not self._has_input and block.get("input"):
            return self._add_arguments(whole_message.dump_input(block["input"]))
        if kind == "text" and self._citations:
            return self._add_annotations()
        return []

    def _add_text(self, text: Any) -> list[Chunk]:
        """Return the chunk of a piece of text."""
        if not text or not isinstance(text, str):
            return []
        self._text_length += len(text)
        return [self._make_chunk({"content": text})]

    def _add_thinking(self, text: Any) -> list[Chunk]:
        """Return the chunk of a piece of thinking."""
        if not text or not isinstance(text, str):
            return []
        detail = whole_message.make_thinking_detail(self._detail_index, text, None)
        return [self._make_chunk({"reasoning_content": text, "reasoning_details": [detail]})]

    def _add_signature(self, signature: Any) -> list[Chunk]:
        """Return the chunk of the signature of thinking."""
        if not signature or not isinstance(signature, str):
            return []
        detail = whole_message.make_thinking_detail(self._detail_index, None, signature)
        return [self._make_chunk({"reasoning_details": [detail]})]

    def _add_input(self, piece: Any) -> list[Chunk]:
        """Return a piece of a call's arguments; tools that run at the upstream have none here."""
        if self._block.get("type") != "tool_use" or not piece or not isinstance(piece, str):
            return []
        self._has_input = True
        return self._add_arguments(piece)

    def _add_arguments(self, text: str) -> list[Chunk]:
        """Return the chunk of a piece of a call's arguments."""
        part = {"index": self._call_count - 1, "function": {"arguments": text}}
        return [self._make_chunk({"tool_calls": [part]})]

    def _add_annotations(self) -> list[Chunk]:
        """Return the chunk with the citations of the block of text that has ended."""
        annotations = []
        for citation in self._citations:
            annotation = whole_message.make_url_annotation(
                citation, self._text_start, self._text_length
            )
            if annotation is not None:
                annotations.append(annotation)
        if not annotations:
            return []
        return [self._make_chunk({"annotations": annotations})]


HANDLERS: dict[str, EventHandler] = {
    "message_start": MessageEvents._start_message,
    "content_block_start": MessageEvents._start_block,
    "content_block_delta": MessageEvents._continue_block,
    "content_block_stop": MessageEvents._stop_block,
    "message_delta": MessageEvents._end_message,
    "message_stop": MessageEvents._stop_message,
    "error": MessageEvents._report_error,
}
