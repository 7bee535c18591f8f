"""The renderer of the Messages API: chunks become events, or one message.

The methods are those of `api.streaming.chat_renderer.ChatRenderer`. Where an upstream answers in
Anthropic's own words, these are passed on unchanged but for the name of the model; all other chunks
are rendered. Both may follow each other in one answer, and the events stay well-formed.
"""

import orjson
from django.http import HttpResponse

from api.messages import error_envelope
from api.messages.output.chunk_reader import ChunkReader
from api.messages.output.event_writer import (
    PING_EVENT,
    STOP_EVENT,
    BlockCollector,
    EventWriter,
    render_event,
)
from api.messages.output.message_blocks import BlockSequence
from api.messages.output.message_objects import (
    build_message,
    build_stop,
    read_early_usage,
    render_counts,
    render_message_usage,
)
from api.messages.output.native_events import NativeEvents
from api.messages.request.answer_wishes import AnswerWishes
from providers.exceptions import GatewayError
from providers.filters.conform import convert_to_delta
from providers.protocol.chunks import NATIVE, Chunk
from providers.protocol.trace import Trace


class MessageRenderer:
    """The renderer of one answer. Its id contains the request's id."""

    __slots__ = ("_blocks", "_has_begun", "_native", "_reader", "_trace", "_wishes", "_writer")

    def __init__(self, trace: Trace, wishes: AnswerWishes) -> None:
        self._trace = trace
        self._wishes = wishes
        self._writer = EventWriter()
        self._blocks = BlockSequence(self._writer)
        self._reader = ChunkReader(self._blocks, wishes)
        self._native = NativeEvents(trace.request.model, self._writer, self._blocks)
        self._has_begun = False

    @property
    def message_id(self) -> str:
        return f"msg_{self._trace.request.id}"

    def render_batch(self, batch: list[Chunk]) -> bytes:
        """Return the events of one batch; the first ones say that the message began."""
        writer = self._writer
        parts = writer.parts = []
        dumps = orjson.dumps
        if not self._has_begun and batch:
            self._begin(batch[0])
        for chunk in batch:
            if NATIVE in chunk:
                self._native.add_events(chunk[NATIVE])
                continue
            choices = chunk["choices"]
            if not choices or self._native.is_stopping:
                continue
            choice = choices[0]
            delta = choice["delta"]
            if len(delta) == 1 and (piece := delta.get(writer.plain_field)):  # nearly all chunks
                parts.append(writer.delta_form % dumps(piece))
                if choice["finish_reason"] is not None:
                    self._reader.read_end(choice)
            elif len(delta) == 1 and (calls := delta.get("tool_calls")):
                self._native.end_block()
                self._reader.read_calls(calls)
                if choice["finish_reason"] is not None:
                    self._reader.read_end(choice)
            else:
                self._native.end_block()
                self._reader.read_choice(choice, delta)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def render_end(self) -> bytes:
        """Return the last events of an answer that ended well, and was counted."""
        parts = self._writer.parts = []
        if not self._has_begun:
            self._begin({})
        if not self._native.is_stopping:
            self._native.end_block()
            self._reader.close()
            delta = build_stop(self._reader.stop_reason, self._reader.stop_text)
            usage = render_counts(self._trace.meter.counted)
            parts.append(render_event({"type": "message_delta", "delta": delta, "usage": usage}))
        if not self._native.has_stopped:
            parts.append(STOP_EVENT)
        return b"".join(parts)

    def render_whole(self, answer: Chunk) -> bytes:
        """Return the body of an answer that does not stream; it must have been counted."""
        if NATIVE in answer:
            return orjson.dumps({**answer[NATIVE], "model": self._trace.request.model})
        collector = BlockCollector()
        reader = ChunkReader(BlockSequence(collector), self._wishes)
        for choice in answer["choices"][:1]:
            reader.read_choice(choice, convert_to_delta(choice["message"]))
        reader.close()
        stop = build_stop(reader.stop_reason, reader.stop_text)
        usage = render_message_usage(self._trace.meter.counted)
        model = self._trace.request.model
        return orjson.dumps(build_message(self.message_id, model, collector.content, stop, usage))

    def render_failure(self, error: GatewayError) -> bytes:
        """Return the event that ends an answer which broke off after it had begun."""
        return render_event(error_envelope.build_envelope(error, f"req_{self._trace.request.id}"))

    def render_error(self, error: GatewayError, request_id: str) -> HttpResponse:
        """Return the answer to a request of which nothing was sent yet."""
        return error_envelope.render_envelope(error, request_id)

    def render_ping(self) -> bytes:
        """Return an event that says nothing; the beginning of the message stands before it."""
        if self._has_begun:
            return PING_EVENT
        parts = self._writer.parts = []
        self._begin({})
        return b"".join((*parts, PING_EVENT))

    def _begin(self, chunk: Chunk) -> None:
        """Write the first event, unless the upstream's own comes with this first chunk."""
        self._has_begun = True
        if chunk.get(NATIVE):
            return
        self._native.has_begun = True
        usage = render_message_usage(read_early_usage(chunk.get("usage")))
        message = build_message(
            self.message_id, self._trace.request.model, [], build_stop(None), usage
        )
        self._writer.parts.append(render_event({"type": "message_start", "message": message}))
