"""The events of a streamed message as bytes. Source: Anthropic's "Streaming Messages"."""

from collections.abc import Mapping
from typing import Any

import orjson

from api.messages.output.message_blocks import (
    REDACTED,
    TEXT,
    THINKING,
    TOOL_USE,
    Block,
    parse_arguments,
)
from providers.protocol.json_types import JsonObject

PING_EVENT = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP_EVENT = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
DELTA_HEAD = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
DELTA_FORMS = {
    TEXT: b'{"type":"text_delta","text":%%b}',
    THINKING: b'{"type":"thinking_delta","thinking":%%b}',
    TOOL_USE: b'{"type":"input_json_delta","partial_json":%%b}',
    REDACTED: b"%%b",  # has no deltas
}
PLAIN_FIELDS = {TEXT: "content", THINKING: "reasoning_content", TOOL_USE: "", REDACTED: ""}
EVENT_FORMS = {
    kind: b"event: %b\ndata: %%b\n\n" % kind.encode()
    for kind in (
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    )
}


def render_event(event: Mapping[str, Any]) -> bytes:
    """Return an event with its name, which is its type."""
    form = EVENT_FORMS.get(event["type"])
    if form is None:  # one that Anthropic has added since
        form = b"event: %b\ndata: %%b\n\n" % str(event["type"]).encode()
    return form % orjson.dumps(event)


def build_empty_block(block: Block) -> JsonObject:
    """Return a block without text and arguments, as the event of its beginning has it."""
    if block.kind == TOOL_USE:
        return {"type": TOOL_USE, "id": block.id, "name": block.name, "input": {}}
    if block.kind == THINKING:
        return {"type": THINKING, "thinking": "", "signature": ""}
    if block.kind == REDACTED:
        return {"type": REDACTED, "data": block.data}
    return {"type": TEXT, "text": ""}


class EventWriter:
    """A sink of blocks that writes their events to `parts`.

    A delta with nothing but `plain_field` is a piece of the open block, which `delta_form` renders:
    so are nearly all.
    """

    __slots__ = ("delta_form", "next_index", "parts", "plain_field")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.next_index = 0  # of the next block
        self.delta_form = b""  # of the deltas of the open block, with a place for their JSON text
        self.plain_field = ""

    def open_block(self, block: Block) -> None:
        start = {"type": "content_block_start", "index": self.next_index}
        self.parts.append(render_event(start | {"content_block": build_empty_block(block)}))
        form = DELTA_HEAD + DELTA_FORMS[block.kind] + b"}\n\n"
        self.delta_form = form % self.next_index
        self.plain_field = PLAIN_FIELDS[block.kind] if block.has_plain_pieces else ""
        self.next_index += 1

    def add_piece(self, block: Block, piece: str) -> None:
        self.parts.append(self.delta_form % orjson.dumps(piece))

    def add_citation(self, block: Block, citation: JsonObject) -> None:
        self._add_delta({"type": "citations_delta", "citation": citation})

    def close_block(self, block: Block) -> None:
        self.plain_field = ""
        if block.kind == THINKING:
            self._add_delta({"type": "signature_delta", "signature": block.final_signature})
        self.parts.append(
            render_event({"type": "content_block_stop", "index": self.next_index - 1})
        )

    def _add_delta(self, delta: JsonObject) -> None:
        """Write a delta of the open block."""
        index = self.next_index - 1
        self.parts.append(
            render_event({"type": "content_block_delta", "index": index, "delta": delta})
        )


class BlockCollector:
    """A sink of blocks that makes the content of a whole message."""

    def __init__(self) -> None:
        self.content: list[JsonObject] = []
        self._pieces: list[str] = []

    def open_block(self, block: Block) -> None:
        self.content.append(build_empty_block(block))
        self._pieces = []

    def add_piece(self, block: Block, piece: str) -> None:
        self._pieces.append(piece)

    def add_citation(self, block: Block, citation: JsonObject) -> None:
        self.content[-1].setdefault("citations", []).append(citation)

    def close_block(self, block: Block) -> None:
        finished = self.content[-1]
        text = "".join(self._pieces)
        if block.kind == TOOL_USE:
            finished["input"] = parse_arguments(text)
        elif block.kind != REDACTED:
            finished[block.kind] = text
        if block.kind == THINKING:
            finished["signature"] = block.final_signature
