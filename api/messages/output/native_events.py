"""Events that an upstream sent in Anthropic's own words: passed on with the public model name.

They usually are the whole answer. Where rendered blocks stand before them, their indexes go on from
there.
"""

from collections.abc import Iterable

from api.messages.output.event_writer import EventWriter, render_event
from api.messages.output.message_blocks import BlockSequence
from providers.protocol.json_types import JsonObject


class NativeEvents:
    """The native events of one answer.

    `is_stopping`: the event with the stop reason was passed on, and no block may follow it.
    """

    __slots__ = (
        "_blocks",
        "_has_open_block",
        "_model",
        "_offset",
        "_writer",
        "has_begun",
        "has_stopped",
        "is_stopping",
    )

    def __init__(self, model: str, writer: EventWriter, blocks: BlockSequence) -> None:
        self._model = model
        self._writer = writer
        self._blocks = blocks
        self._offset = 0  # added to the upstream's indexes
        self._has_open_block = False
        self.has_begun = False  # the beginning of the message was sent
        self.is_stopping = False
        self.has_stopped = False

    def add_events(self, events: Iterable[JsonObject]) -> None:
        """Write these events."""
        for event in events:
            kind = event["type"]
            if kind.startswith("content_block_"):
                if self.is_stopping:
                    continue
                self._add_block_event(kind, event)
            elif kind == "message_start":
                self._add_start(event)
            elif kind == "message_delta":
                self._blocks.close()
                self.end_block()
                self.is_stopping = True
                self._writer.parts.append(render_event(event))
            elif kind == "message_stop":
                self.has_stopped = self.is_stopping
                if self.is_stopping:
                    self._writer.parts.append(render_event(event))
            else:
                self._writer.parts.append(render_event(event))

    def end_block(self) -> None:
        """Close a block of the upstream's that is open, because another one is rendered now."""
        if self._has_open_block:
            self._has_open_block = False
            index = self._writer.next_index - 1
            self._writer.parts.append(render_event({"type": "content_block_stop", "index": index}))

    def _add_start(self, event: JsonObject) -> None:
        """Write the beginning of the message, unless it is written."""
        if not self.has_begun:
            self.has_begun = True
            message = {**event["message"], "model": self._model}
            self._writer.parts.append(render_event({**event, "message": message}))

    def _add_block_event(self, kind: str, event: JsonObject) -> None:
        """Write an event of a block, with the index that the caller knows."""
        if kind == "content_block_start":
            self._blocks.close()
            self.end_block()
            self._offset = self._writer.next_index - event["index"]
            self._writer.next_index += 1
            self._has_open_block = True
        elif not self._has_open_block:
            return
        elif kind == "content_block_stop":
            self._has_open_block = False
        if self._offset:
            event = {**event, "index": event["index"] + self._offset}
        self._writer.parts.append(render_event(event))
