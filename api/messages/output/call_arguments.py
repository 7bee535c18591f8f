"""Find where the arguments of a streamed call end. No I/O."""

import re

from msgspec import Struct, field

STRUCTURE = re.compile(r'["\\{}\[\]]')
OPENING = frozenset("{[")
CLOSING = frozenset("}]")


class ArgumentsProgress(Struct):
    """Reads the pieces of a JSON object, each character once, to see where it ends.

    Pieces are only kept until somebody asks, which happens when another block waits.
    """

    unread: list[str] = field(default_factory=list)
    depth: int = 0
    is_in_text: bool = False
    has_ended: bool = False
    escapes_next: bool = False  # the last character of the last piece was a backslash in a text

    def add_piece(self, piece: str) -> None:
        """Keep the next piece until somebody asks."""
        self.unread.append(piece)

    @property
    def is_complete(self) -> bool:
        """Return whether the object has ended."""
        for piece in self.unread:
            self._read_piece(piece)
        self.unread.clear()
        return self.has_ended

    def _read_piece(self, piece: str) -> None:
        """Follow texts and brackets through one piece."""
        position = 0
        if self.escapes_next and piece:
            self.escapes_next = False
            position = 1
        while match := STRUCTURE.search(piece, position):
            position = match.end()
            character = match[0]
            if self.is_in_text:
                position = self._read_in_text(character, piece, position)
            elif character == '"':
                self.is_in_text = True
            elif character in OPENING:
                self.depth += 1
            elif character in CLOSING:
                self.depth -= 1
                self.has_ended = self.depth <= 0

    def _read_in_text(self, character: str, piece: str, position: int) -> int:
        """Read a character within a text; return from where to read on."""
        if character == '"':
            self.is_in_text = False
        elif character == "\\":
            self.escapes_next = position >= len(piece)
            return position + 1
        return position
