"""Pass on the events of a relayed stream: speech, transcriptions and images. No I/O.

Events are passed on with their names. Each is looked at for an error, for the usage, and for the
end of the stream. Sources: OpenAI's API reference (`speech.audio.done`, `transcript.text.done`,
`image_generation.completed`); vLLM's transcriptions (chunks like those of a chat completion).
"""

from typing import Any

import msgspec
import orjson
from msgspec import Struct

from providers.exceptions import BadResponse, Disconnected
from providers.protocol.json_types import JsonObject
from providers.relayed.answer_facts import AnswerFacts
from providers.wire.sse import EventSplitter, EventTooLong

DONE = b"[DONE]"
END_TYPES = (".done", ".completed")  # the last words of the types of closing events
IMAGE_TYPES = ("image_generation.completed", "image_edit.completed")


class EventFacts(AnswerFacts):
    """The fields of one event that matter here."""

    type: Any = None
    model: Any = None
    choices: Any = None


class RelayedEvent(Struct):
    """One event as it is passed on, with its facts; None where its data is no JSON object."""

    data: bytes
    facts: EventFacts | None

    @property
    def error(self) -> JsonObject | None:
        """Return the object that reports an error, in the form that `map_error_answer` reads."""
        facts = self.facts
        if facts is None or (not facts.error and facts.type != "error"):
            return None
        if isinstance(facts.error, dict):
            return facts.error
        event: JsonObject = orjson.loads(self.data)
        if isinstance(facts.error, str):
            event["message"] = facts.error
        return event


class EventRelay:
    """The events of one stream; `image_count` images have been completed so far."""

    def __init__(self, model_name: str, event_bytes: int) -> None:
        """Put `model_name`, the caller's name of the model, into events that name one."""
        self._model_name = model_name
        self._splitter = EventSplitter(event_bytes)
        self.image_count = 0
        self.has_ended = False  # the closing event has come

    def feed(self, piece: bytes) -> list[RelayedEvent]:
        """Return the events that a piece completes. Raises BadResponse."""
        try:
            return [self._read_event(data) for data in self._splitter.feed(piece)]
        except EventTooLong:
            raise BadResponse("An event of the upstream's stream is too long.") from None

    def read_end(self) -> list[RelayedEvent]:
        """Return an event that lacks its blank line. Raises Disconnected without a closing one."""
        events = [self._read_event(data) for data in self._splitter.finish()]
        if not self.has_ended:
            raise Disconnected("The upstream's stream ended before it was complete.")
        return events

    def _read_event(self, data: bytes) -> RelayedEvent:
        """Return an event with the name of the model, and note the end and images."""
        if data.strip() == DONE:
            self.has_ended = True
            return RelayedEvent(data, None)
        facts = read_event_facts(data)
        if facts is None:
            return RelayedEvent(data, None)
        kind = facts.type if isinstance(facts.type, str) else ""
        self.has_ended = self.has_ended or kind.endswith(END_TYPES)
        self.image_count += kind in IMAGE_TYPES
        if facts.model is not None:
            data = orjson.dumps({**orjson.loads(data), "model": self._model_name})
        return RelayedEvent(data, facts)


def read_event_facts(data: bytes) -> EventFacts | None:
    """Return the facts of an event; None when its data is no JSON object."""
    try:
        return msgspec.json.decode(data, type=EventFacts)
    except (msgspec.DecodeError, RecursionError):
        return None


def render_event(event: RelayedEvent) -> bytes:
    """Return an event as bytes, with its type as its name where it has one."""
    kind = event.facts.type if event.facts is not None else None
    lines = b"".join(b"data: %b\n" % line for line in event.data.split(b"\n"))
    if isinstance(kind, str) and kind.isascii() and kind.isprintable():
        return b"event: %b\n%b\n" % (kind.encode("ascii"), lines)
    return lines + b"\n"
