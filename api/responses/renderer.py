"""The renderer of responses: SSE lines, or one JSON object.

OpenAI sends no [DONE] here. The methods are those of `api.streaming.chat_renderer.Renderer`.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from api.responses.events import Events
from api.responses.objects import Head, usage_of
from api.responses.part_events import Event
from conversations.messages.answer_builder import Answer
from providers.exceptions import GatewayError
from providers.protocol.chunks import Chunk
from providers.protocol.trace import Trace


class EventRenderer:
    """The renderer of one response.

    With `answer`, the conversation history has added each batch to it already. Without, the
    renderer adds the batches to an answer of its own.
    """

    __slots__ = ("_answer", "_events", "_folds", "_trace")

    def __init__(self, trace: Trace, head: Head, answer: Answer | None = None) -> None:
        self._trace = trace
        self._folds = answer is None
        self._answer = answer or Answer(head.id)
        self._events = Events(head, self._answer)

    def events(self, batch: list[Chunk]) -> bytes:
        """Return the lines for this batch; the first lines say that the response began."""
        if self._folds:
            self._answer.take(batch)
        return lines(self._events.news())

    def end(self) -> bytes:
        """Return the lines after the last chunk of an answer that ended well.

        The ledger must have counted the answer.
        """
        return lines(self._events.end(self._usage()))

    def failed(self, error: GatewayError) -> bytes:
        """Return the last lines of an answer that broke off after something was sent."""
        return lines(self._events.fail(error))

    def whole(self, answer: Chunk) -> bytes:
        """Return the body of an answer that does not stream; it must have been counted."""
        if self._folds:
            self._answer.take([answer])
        return orjson.dumps(self._events.whole(self._usage()))

    def _usage(self) -> dict[str, Any] | None:
        return usage_of(self._trace.meter.counted)


def lines(events: Iterable[Event]) -> bytes:
    """Return the events as SSE lines."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode("ascii"), orjson.dumps(event))
        for event in events
    )
