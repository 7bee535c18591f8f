"""The content blocks of a message: begun, filled and closed one after the other.

An answer of chat chunks may send the arguments of several calls alternately, and thinking without
an end of its own. Here one block is closed before the next one begins: pieces of a later block wait
until the call that is open has all its arguments. Source: Anthropic's documentation,
"Streaming Messages".
"""

from typing import Protocol

import orjson
from msgspec import Struct, field

from api.messages.output.call_arguments import ArgumentsProgress
from conversations.messages.opaque_text import encode_opaque_text
from providers.protocol.json_types import JsonObject

TEXT = "text"
THINKING = "thinking"
TOOL_USE = "tool_use"
REDACTED = "redacted_thinking"


class Block(Struct):
    """One content block. `pieces` wait until it is open."""

    kind: str
    id: str = ""  # of a call
    name: str = ""  # of a call
    data: str = ""  # of redacted thinking
    detail_index: object = None  # of the details of which this thinking is made
    signature: str = ""  # of thinking
    is_hidden: bool = False  # its text is not shown
    sealed_text: list[str] = field(default_factory=list)  # of thinking that is not shown
    pieces: list[str] = field(default_factory=list)
    citations: list[JsonObject] = field(default_factory=list)
    is_closed: bool = False
    # of a call: how far its arguments have come
    progress: ArgumentsProgress = field(default_factory=ArgumentsProgress)

    @property
    def has_plain_pieces(self) -> bool:
        """Return whether each text that comes for it is a piece of it, until it is closed."""
        return self.kind == TEXT or (
            self.kind == THINKING and self.detail_index is None and not self.is_hidden
        )

    @property
    def final_signature(self) -> str:
        """Return the signature of thinking: the upstream's, or ours with the text not shown."""
        return self.signature or encode_opaque_text("".join(self.sealed_text))

    @property
    def is_complete(self) -> bool:
        """Return whether nothing can be missing, given that another block has begun."""
        return self.kind != TOOL_USE or self.progress.is_complete


class BlockSink(Protocol):
    """The receiver of blocks in their order; `piece` is text, thinking or a part of arguments."""

    def open_block(self, block: Block, /) -> None: ...
    def add_piece(self, block: Block, piece: str, /) -> None: ...
    def add_citation(self, block: Block, citation: JsonObject, /) -> None: ...
    def close_block(self, block: Block, /) -> None: ...


class BlockSequence:
    """The blocks of one answer, in the order in which they began."""

    __slots__ = ("_calls", "_sink", "_waiting", "has_calls", "open_block")

    def __init__(self, sink: BlockSink) -> None:
        self._sink = sink
        self.open_block: Block | None = None
        self._waiting: list[Block] = []
        self._calls: dict[int, Block] = {}
        self.has_calls = False

    def add_text(self, text: str) -> None:
        """Add text to the block of text that came last, or begin one."""
        self._add_piece(self._find_or_begin(TEXT), text)

    def add_citation(self, citation: JsonObject) -> None:
        """Add a citation to the text that came last."""
        block = self._find_or_begin(TEXT)
        if block is self.open_block:
            self._sink.add_citation(block, citation)
        else:
            block.citations.append(citation)

    def add_thinking(self, text: str, detail_index: object, *, shown: bool) -> None:
        """Add thinking; that of another detail, or after a signature, is a block of its own."""
        block = self._last_block
        if (
            block is None
            or block.kind != THINKING
            or block.signature
            or block.detail_index != detail_index
        ):
            block = self._begin(Block(THINKING, detail_index=detail_index, is_hidden=not shown))
        if shown:
            self._add_piece(block, text)
        else:
            block.sealed_text.append(text)

    def add_signature(self, signature: str, detail_index: object) -> None:
        """Sign the thinking that came last; without any, it is a block with empty thinking."""
        block = self._last_block
        if block is None or block.kind != THINKING or block.signature:
            block = self._begin(Block(THINKING, detail_index=detail_index))
        block.signature = signature
        if block is self.open_block:
            self._close_open_block()

    def add_redacted(self, data: str) -> None:
        """Add a block of redacted thinking, which is whole."""
        self._begin(Block(REDACTED, data=data))

    def begin_call(self, index: int, call_id: str, name: str) -> None:
        """Begin a block for the call with this index."""
        self.has_calls = True
        self._calls[index] = self._begin(Block(TOOL_USE, id=call_id, name=name))

    def has_call(self, index: int) -> bool:
        return index in self._calls

    def add_arguments(self, index: int, piece: str) -> None:
        """Add a piece of the arguments of a call that has begun."""
        block = self._calls[index]
        if not piece or block.is_closed:
            return
        block.progress.add_piece(piece)
        if block is self.open_block and not self._waiting:
            self._sink.add_piece(block, piece)
        else:
            self._add_piece(block, piece)

    def close(self) -> None:
        """Close all blocks."""
        while self.open_block is not None:
            self._close_open_block()

    @property
    def _last_block(self) -> Block | None:
        return self._waiting[-1] if self._waiting else self.open_block

    def _find_or_begin(self, kind: str) -> Block:
        """Return the last block if it is of this kind, else a new one."""
        block = self._last_block
        if block is None or block.kind != kind:
            block = self._begin(Block(kind))
        return block

    def _begin(self, block: Block) -> Block:
        """Add a block behind those that wait, and return it."""
        self._waiting.append(block)
        self._advance()
        return block

    def _add_piece(self, block: Block, piece: str) -> None:
        """Write a piece of the open block; a piece of another one waits with it."""
        if block is not self.open_block:
            block.pieces.append(piece)
            return
        self._sink.add_piece(block, piece)
        if self._waiting:
            self._advance()

    def _advance(self) -> None:
        """Close the open block as long as it is complete and another one waits."""
        if self.open_block is None:
            self._open_next_block()
        while self._waiting and self.open_block is not None and self.open_block.is_complete:
            self._close_open_block()

    def _close_open_block(self) -> None:
        """Close the open block, and open the next one that waits."""
        block = self.open_block
        if block is not None:
            block.is_closed = True
            self._sink.close_block(block)
        self.open_block = None
        self._open_next_block()

    def _open_next_block(self) -> None:
        """Open the first block that waits, and write its pieces and citations."""
        if not self._waiting:
            return
        block = self.open_block = self._waiting.pop(0)
        self._sink.open_block(block)
        for piece in block.pieces:
            self._sink.add_piece(block, piece)
        for citation in block.citations:
            self._sink.add_citation(block, citation)
        block.pieces.clear()
        block.citations.clear()


def parse_arguments(text: str) -> JsonObject:
    """Return the arguments of a call as an object.

    A text that is no JSON object comes as `{"_raw": …}`, because a block of a call has an object.
    """
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {"_raw": text}
    return arguments if isinstance(arguments, dict) else {"_raw": text}
