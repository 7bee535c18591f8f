"""The renderer of responses: SSE lines, or one JSON object.

OpenAI sends no [DONE] here, but its packages, Codex and other clients end at one, and some wait for
it. The methods are those of `api.streaming.chat_renderer.ChatRenderer`.
"""

from collections.abc import Iterable

import orjson

from api import exceptions
from api.responses.output.events import ResponseEvents
from api.responses.output.objects import ResponseHead, render_usage
from api.responses.output.part_events import FINAL_EVENT_TYPES, Event
from conversations.messages.answer_builder import CollectedAnswer
from providers.exceptions import GatewayError
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.trace import Trace
from providers.wire.sse import DONE_EVENT, PING


class EventRenderer:
    """The renderer of one response.

    With `answer`, the conversation history has added each batch to it already. Without, the
    renderer adds the batches to an answer of its own.
    """

    render_error = staticmethod(exceptions.render_error)
    __slots__ = ("_adds_batches", "_answer", "_events", "_trace")

    def __init__(
        self, trace: Trace, head: ResponseHead, answer: CollectedAnswer | None = None
    ) -> None:
        self._trace = trace
        self._adds_batches = answer is None
        self._answer = answer or CollectedAnswer(head.id, head.tool_names)
        self._events = ResponseEvents(head, self._answer)

    @property
    def answer(self) -> CollectedAnswer:
        """Return the answer as far as it has come."""
        return self._answer

    def make_batch_events(self, batch: list[Chunk]) -> list[Event]:
        """Return the events of this batch; the first events say that the response began."""
        if self._adds_batches:
            self._answer.add_chunks(batch)
        return self._events.make_new_events()

    def make_end_events(self) -> list[Event]:
        """Return the events after the last chunk of an answer that ended well.

        The ledger must have counted the answer.
        """
        return self._events.make_final_events(self._render_own_usage())

    def make_failure_events(self, error: GatewayError) -> list[Event]:
        """Return the last events of an answer that broke off after something was sent."""
        return self._events.make_failure_events(error)

    def render_batch(self, batch: list[Chunk]) -> bytes:
        """Return the lines for this batch."""
        return render_event_lines(self.make_batch_events(batch))

    def render_end(self) -> bytes:
        """Return the lines after the last chunk of an answer that ended well."""
        return render_event_lines(self.make_end_events())

    def render_failure(self, error: GatewayError) -> bytes:
        """Return the last lines of an answer that broke off after something was sent."""
        return render_event_lines(self.make_failure_events(error))

    def render_ping(self) -> bytes:
        """Return a comment, which every client passes over."""
        return PING

    def render_whole(self, answer: Chunk) -> bytes:
        """Return the body of an answer that does not stream; it must have been counted."""
        if self._adds_batches:
            self._answer.add_chunks([answer])
        return orjson.dumps(self._events.build_whole_response(self._render_own_usage()))

    def _render_own_usage(self) -> JsonObject | None:
        return render_usage(self._trace.meter.counted)


def render_event_lines(events: Iterable[Event]) -> bytes:
    """Return the events as SSE lines, with [DONE] behind the final event of a response."""
    lines = []
    event_type = ""
    for event in events:
        event_type = event["type"]
        lines.append(b"event: %b\ndata: %b\n\n" % (event_type.encode("ascii"), orjson.dumps(event)))
    if event_type in FINAL_EVENT_TYPES:
        lines.append(DONE_EVENT)
    return b"".join(lines)
