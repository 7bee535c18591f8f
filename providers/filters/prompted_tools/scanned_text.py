"""Hold and pass on a text that comes in pieces. No I/O.

Text that is read is passed on at once or held until it is decided. A generator of `Steps` yields
when it needs more text, and continues when some has come; `is_final` says that none will.
"""

import re
from collections.abc import Generator, Sequence
from typing import TypeVar

from providers.filters.prompted_tools.call_syntax import StreamPattern
from providers.filters.prompted_tools.written_call import WrittenCall

MOST_PLAIN_PIECES = 512
MOST_LINE_CHARS = 4_096  # of the end of plain text, to tell where its last line begins
MOST_HELD_CHARS = 8 * 2**20  # longest possible call; a longer text is no call
Result = TypeVar("Result")
Steps = Generator[None, None, Result]  # the reading of a construct: each step waits for more text


class CallSource(str):
    """The text of calls as the model wrote it, which stands before them in the output."""

    __slots__ = ()


class ScannedText:
    """The text of one choice: what is not read yet, what is held, and what can be passed on.

    `window` from `position` on is not read yet.
    """

    __slots__ = (
        "_blank_pieces",
        "_held_chars",
        "_held_pieces",
        "_output_items",
        "_plain_pieces",
        "call_count",
        "has_passed_text",
        "is_cut_off",
        "is_final",
        "is_holding",
        "keeps_sources",
        "last_char",
        "last_visible_char",
        "position",
        "window",
    )

    def __init__(self, *, keeps_sources: bool = False) -> None:
        self.keeps_sources = keeps_sources  # the output says how calls were written
        self.window = ""
        self.position = 0
        self.is_final = False
        self.is_cut_off = False  # the upstream stopped the model, at the end of a final text
        self.is_holding = False
        self.call_count = 0  # of the calls that were passed on
        self.last_char = ""  # of the text that was read
        self.last_visible_char = ""  # of the line that is being read
        self._held_pieces: list[str] = []
        self._held_chars = 0
        self._output_items: list[str | WrittenCall] = []
        # white space before a possible call; it is passed on only if text follows it
        self._blank_pieces: list[str] = []
        self.has_passed_text = False  # since the beginning or the last call
        # plain text that was passed on without a look at its lines
        self._plain_pieces: list[str] = []

    @property
    def next_char(self) -> str:
        """Return the next character; empty at the end of the text.

        It is reliable after a step that did not stop for lack of text.
        """
        return self.window[self.position : self.position + 1]

    @property
    def is_at_line_start(self) -> bool:
        """Return whether only white space was read of the line."""
        return not self.last_visible_char

    def add_piece(self, piece: str) -> None:
        """Add a piece to the text that is not read yet."""
        if self._plain_pieces:
            self._note_last_line("".join(self._plain_pieces))
            self._plain_pieces.clear()
        self.window = self.window[self.position :] + piece
        self.position = 0

    def skip_plain(self, piece: str) -> None:
        """Note a piece without any construct that is passed on unread."""
        self._plain_pieces.append(piece)
        if len(self._plain_pieces) > MOST_PLAIN_PIECES:
            self._plain_pieces = ["".join(self._plain_pieces)[-MOST_LINE_CHARS:]]

    # --- reading ----------------------------------------------------------------------------------
    def take_chars(self, size: int) -> None:
        """Read this many characters: hold them, or pass them on."""
        self.take_to(self.position + size)

    def take_to(self, end: int) -> None:
        """Read the characters up to this position of the window: hold them, or pass them on."""
        size = end - self.position
        if size <= 0:
            return
        text = self.window[self.position : end]
        self.position = end
        self._note_last_line(text)
        if not self.is_holding:
            self._pass_text(text)
            return
        self._held_pieces.append(text)
        self._held_chars += size
        if self._held_chars > MOST_HELD_CHARS:
            self.release_held()

    def _note_last_line(self, text: str) -> None:
        """Note how the line ends that is being read."""
        self.last_char = text[-1]
        _, line_end, line = text.rpartition("\n")
        visible = line.rstrip(" \t\r")
        if visible or line_end:
            self.last_visible_char = visible[-1:]

    def put_back(self, size: int) -> None:
        """Make the last held characters unread again."""
        held_text = "".join(self._held_pieces)
        kept_chars = len(held_text) - size
        self.window = held_text[kept_chars:] + self.window[self.position :]
        self.position = 0
        self._held_pieces[:] = [held_text[:kept_chars]]
        self._held_chars = kept_chars

    def drop_chars(self, size: int) -> None:
        """Skip characters that are neither held nor passed on."""
        if self.keeps_sources:
            self._output_items.append(CallSource(self.window[self.position : self.position + size]))
        self.position += size

    # --- holding ----------------------------------------------------------------------------------
    def begin_holding(self) -> None:
        self.is_holding = True
        self._held_chars = 0

    def mark_held(self) -> int:
        """Return a mark of the end of the held text, for `read_held`."""
        return len(self._held_pieces)

    def read_held(self, mark: int) -> str:
        """Return the text that was held since the mark."""
        return "".join(self._held_pieces[mark:])

    def release_held(self) -> None:
        """Pass on the held characters as text."""
        held_text = "".join(self._held_pieces)
        self._held_pieces.clear()
        self.is_holding = False
        self._pass_text(held_text)

    def replace_held(self, calls: Sequence[WrittenCall]) -> None:
        """Pass on these calls in place of the held text and the white space before it."""
        if self.keeps_sources:
            source = "".join((*self._blank_pieces, *self._held_pieces))
            self._output_items.append(CallSource(source))
        self._held_pieces.clear()
        self._blank_pieces.clear()
        self.is_holding = False
        self.has_passed_text = False
        self.last_visible_char = ""
        self.last_char = ""
        self._output_items += calls
        self.call_count += len(calls)

    # --- passing on -------------------------------------------------------------------------------
    def _pass_text(self, text: str) -> None:
        if self.has_passed_text:
            self._output_items.append(text)
        elif text and not text.isspace():
            self._output_items += self._blank_pieces
            self._output_items.append(text)
            self._blank_pieces.clear()
            self.has_passed_text = True
        else:
            self._blank_pieces.append(text)

    def release_blanks(self) -> None:
        """Pass on the white space that waits for text."""
        self._output_items += self._blank_pieces

    def drain_output(self) -> list[str | WrittenCall]:
        """Return the text and calls to pass on, neighbouring texts joined."""
        decided: list[str | WrittenCall] = []
        texts: list[str] = []
        for item in self._output_items:
            if isinstance(item, str) and not isinstance(item, CallSource):
                texts.append(item)
                continue
            if text := "".join(texts):
                decided.append(text)
            texts.clear()
            decided.append(item)
        if text := "".join(texts):
            decided.append(text)
        self._output_items.clear()
        return decided

    # --- steps ------------------------------------------------------------------------------------
    def take_run(self, run: re.Pattern[str]) -> Steps[int]:
        """Take the characters of a run; return how many."""
        taken_chars = 0
        while True:
            if match := run.match(self.window, self.position):
                taken_chars += match.end() - self.position
                self.take_to(match.end())
            if self.position < len(self.window) or self.is_final:
                return taken_chars
            yield

    def take_limited_run(self, run: re.Pattern[str], most_chars: int) -> Steps[str]:
        """Take, and hold, a run of at most `most_chars` characters; return it."""
        mark = self.mark_held()
        while True:
            if match := run.match(self.window, self.position, self.position + most_chars):
                most_chars -= match.end() - self.position
                self.take_to(match.end())
            if self.position < len(self.window) or self.is_final:
                return self.read_held(mark)
            yield

    def match_pattern(self, pattern: StreamPattern) -> Steps[re.Match[str] | None]:
        """Return the match of the pattern that begins here, without taking it, or None."""
        while True:
            match = pattern.full_pattern.match(self.window, self.position)
            if match or self.is_final:
                return match
            if not pattern.partial_pattern.match(self.window, self.position):
                return None
            yield

    def take_until(self, literal: str) -> Steps[str | None]:
        """Take all text up to and including `literal`, and return the held text before it.

        Returns None if the text ends without it.
        """
        mark = self.mark_held()
        while True:
            start = self.window.find(literal, self.position)
            if start >= 0:
                self.take_to(start)
                text = self.read_held(mark)
                self.take_chars(len(literal))
                return text
            if self.is_final:
                self.take_to(len(self.window))
                return None
            self.take_to(len(self.window) - len(literal) + 1)
            yield

    def peek_end(self, literals: Sequence[str], most_chars: int) -> Steps[tuple[int, int] | None]:
        """Return where the first of these literals begins and ends in the window, unread.

        It is the end of the text if none comes, and None if none comes in `most_chars`.
        """
        longest = max(map(len, literals))
        searched_chars = 0
        while True:
            first = self.position + searched_chars
            places = [(self.window.find(literal, first), len(literal)) for literal in literals]
            starts = [(start, start + size) for start, size in places if start >= 0]
            if starts:
                return min(starts)
            if self.is_final:
                return len(self.window), len(self.window)
            searched_chars = max(len(self.window) - self.position - longest + 1, 0)
            if searched_chars > most_chars:
                return None
            yield
