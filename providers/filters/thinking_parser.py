"""Divide a text that comes in pieces into thinking and answer. No I/O.

Only blocks that open an answer count as thinking: `<think …>…</think>` or another family of tags
(`providers/wire/tag_families.py`), several in a row, then perhaps `<answer>…</answer>` around the
rest. The `<summary>` of a block of details is dropped. Such tags later in the answer stay as they
are, and so does text that only looked like a tag. The joined results do not depend on how a text is
cut into pieces.

White space before an opening tag is removed, and so are line ends at the beginning of the thinking
and of the answer that follows it; all other white space stays.
"""

from collections.abc import Callable

from providers.wire.tag_families import END_ANSWER, END_THINK, list_tags
from providers.wire.tags import (
    NO_TAG,
    WAIT,
    ClosingTag,
    OpeningTag,
    TagMatch,
    find_opening_tag,
    skip_space,
    skip_summary,
)

# a text without an opening tag whose closing tag does not begin within so many characters is an
# answer: so much is held at most
UNDECIDED_CHARS = 1_048_576
AFTER_ANSWER_CHARS = 4_096  # most characters after an </answer> that counts as the last one
STRAY_CLOSING = OpeningTag("</think>", END_THINK)  # after thinking that another tag has closed


class ThinkingParser:
    """One text, fed in pieces and divided into thinking and answer.

    It takes time linear in the length of the text. With `is_implied` the opening tag may be
    missing. `tag_family` names the only tags that count; empty: all that are known.
    """

    __slots__ = (
        "_answer",
        "_answer_closing",
        "_closing_tag",
        "_held_text",
        "_is_implied",
        "_is_wrapped",
        "_position",
        "_reasoning",
        "_state",
        "_tags",
        "_undecided_text",
    )

    def __init__(self, *, is_implied: bool, tag_family: str = "") -> None:
        self._is_implied = is_implied
        self._tags = list_tags(tag_family)
        self._held_text = ""
        self._position = 0  # in the held text: what stands before it is done
        self._undecided_text: UndecidedText | None = None
        self._closing_tag: ClosingTag | None = None  # of the thinking; None before any thinking
        self._answer_closing = END_ANSWER
        self._is_wrapped = False  # the answer stands in tags of its own
        self._reasoning = TextBuffer()
        self._answer = TextBuffer()
        self._state: Callable[[ThinkingParser, bool], bool] = ThinkingParser._find_opening_tag

    @property
    def implied_closing(self) -> ClosingTag:
        """Return the tag that ends thinking whose opening tag is missing."""
        return self._tags[0].closing

    @property
    def is_plain_answer(self) -> bool:
        """Return whether the text is an answer without any tag before it, as far as it came."""
        is_tagged = self._closing_tag is not None or self._is_wrapped
        return not is_tagged and self._state == ThinkingParser._pass_answer

    def record_separate_thinking(self) -> None:
        """Note that thinking came in its own field: only an opening tag can make text thinking."""
        self._is_implied = False
        self._closing_tag = self._closing_tag or END_THINK

    def feed(self, piece: str, *, is_last: bool = False) -> tuple[str, str]:
        """Return the thinking and the answer that are certain by now; with `is_last` all of it."""
        if self._undecided_text is not None:
            if self._is_implied and not is_last and self._undecided_text.hold_piece(piece):
                return "", ""
            piece = self._undecided_text.take_text(piece)
            self._undecided_text = None
        self._held_text += piece
        while self._state(self, is_last):
            pass
        self._held_text = self._held_text[self._position :]
        self._position = 0
        if self._state == ThinkingParser._decide_untagged_text:
            self._undecided_text = UndecidedText(self._held_text, self.implied_closing)
            self._held_text = ""
        return self._reasoning.take_text(), self._answer.take_text()

    # --- states: they return False when they need the next piece ----------------------------------
    def _find_opening_tag(self, is_last: bool) -> bool:
        """Find the tag that stands before the answer, or before the kind of text is known."""
        start = skip_space(self._held_text, self._position)
        match = TagMatch(NO_TAG)
        if start != NO_TAG:
            match = self._find_tag(start)
        if match.end == WAIT and not is_last:
            return False
        if match.tag is None:
            return self._handle_untagged_text()
        self._position = match.end
        if match.tag.is_answer:
            self._is_wrapped = True
            self._answer_closing = match.tag.closing
            self._begin_answer()
        elif match.tag is not STRAY_CLOSING:
            self._begin_thinking(match.tag.closing)
            self._answer_closing = match.tag.answer_closing or END_ANSWER
            if match.tag.has_summary:
                self._state = ThinkingParser._skip_summary
        return True

    def _handle_untagged_text(self) -> bool:
        if self._is_implied and self._closing_tag is None:
            self._state = ThinkingParser._decide_untagged_text
        else:
            self._begin_answer()
        return True

    def _decide_untagged_text(self, is_last: bool) -> bool:
        """Decide by the first closing tag; a text without one is an answer."""
        most_chars = UNDECIDED_CHARS + self.implied_closing.longest_chars
        closing = self.implied_closing.find(self._held_text, self._position)
        if closing is not None and closing.start() - self._position <= UNDECIDED_CHARS:
            self._begin_thinking(self.implied_closing)
        elif (
            is_last
            or not self._is_implied
            or closing is not None
            or len(self._held_text) - self._position > most_chars
        ):
            self._begin_answer()
        return self._state != ThinkingParser._decide_untagged_text

    def _skip_summary(self, is_last: bool) -> bool:
        """Skip the heading of a block of details, if it has one."""
        end = skip_summary(self._held_text, self._position)
        if end == WAIT and not is_last:
            return False
        self._position = max(end, self._position)
        self._state = ThinkingParser._pass_thinking
        return True

    def _pass_thinking(self, is_last: bool) -> bool:
        assert self._closing_tag is not None  # noqa: S101
        if not self._pass_until_tag(self._closing_tag, self._reasoning, is_last):
            return False
        self._state = ThinkingParser._find_opening_tag
        return True

    def _pass_answer(self, is_last: bool) -> bool:
        """Pass on the answer up to its closing tag.

        Only an answer after thinking or after an opening tag can have a closing tag of its own.
        """
        if self._closing_tag is None and not self._is_wrapped:
            self._answer.add_text(self._held_text[self._position :])
            self._position = len(self._held_text)
        elif self._pass_until_tag(self._answer_closing, self._answer, is_last, skips_tag=False):
            self._state = ThinkingParser._judge_closing_tag
            return True
        return False

    def _judge_closing_tag(self, is_last: bool) -> bool:
        """Decide whether the closing tag of an answer is the last one.

        One without its opening tag must stand at the very end.
        """
        closing = self._answer_closing.find(self._held_text, self._position)
        assert closing is not None  # noqa: S101
        if self._may_be_last_closing_tag(closing.end()):
            if is_last:
                tail = self._held_text[closing.end() :]
                if tail.strip():
                    self._answer.add_text(tail)
                self._position = len(self._held_text)
            return False
        self._answer.add_text(closing[0])
        self._position = closing.end()
        self._state = ThinkingParser._pass_answer
        return True

    def _may_be_last_closing_tag(self, end: int) -> bool:
        """Return whether the closing tag that ends here may be the last one, as far as is known."""
        limit = end + AFTER_ANSWER_CHARS
        if self._answer_closing.find(self._held_text, end, limit):
            return False
        tail = self._held_text[end : limit + 1]
        return len(tail) <= AFTER_ANSWER_CHARS and (self._is_wrapped or not tail.strip())

    # --- helpers of the states --------------------------------------------------------------------
    def _begin_thinking(self, closing_tag: ClosingTag) -> None:
        if self._closing_tag is not None:
            self._reasoning.add_text("\n\n")
        self._closing_tag = closing_tag
        self._reasoning.strips_line_ends = True
        self._state = ThinkingParser._pass_thinking

    def _begin_answer(self) -> None:
        self._answer.strips_line_ends = self._closing_tag is not None or self._is_wrapped
        self._state = ThinkingParser._pass_answer

    def _pass_until_tag(
        self, tag: ClosingTag, part: "TextBuffer", is_last: bool, *, skips_tag: bool = True
    ) -> bool:
        """Pass the text before `tag` to `part`, and return whether the tag was found.

        If it was not found, a beginning of the tag at the end of the text is held back.
        """
        match = tag.find(self._held_text, self._position)
        if match is not None:
            end = match.start()
        else:
            end = len(self._held_text)
            if not is_last:
                end -= tag.count_partial_chars(self._held_text, self._position)
        part.add_text(self._held_text[self._position : end])
        self._position = end
        if match is not None and skips_tag:
            self._position = match.end()
        return match is not None

    def _find_tag(self, position: int) -> TagMatch:
        """Return the tag at `position` before an answer."""
        tags = self._tags
        if self._closing_tag is not None:
            tags = (STRAY_CLOSING, *tags)
        return find_opening_tag(self._held_text, position, tags)


class UndecidedText:
    """A text that is thinking or answer: its pieces, until a closing tag may be among them."""

    __slots__ = ("_chars", "_closing_tag", "_pieces", "_tail")

    def __init__(self, text: str, closing_tag: ClosingTag) -> None:
        self._closing_tag = closing_tag
        self._pieces = [text]
        self._chars = len(text)
        self._tail = text[-closing_tag.longest_chars :]  # where a closing tag may have begun

    def hold_piece(self, piece: str) -> bool:
        """Hold the piece if the text stays undecided with it, and return whether it does."""
        longest_chars = self._closing_tag.longest_chars
        tail = self._tail + piece
        if (
            self._chars + len(piece) > UNDECIDED_CHARS + longest_chars
            or self._closing_tag.find(tail, 0) is not None
        ):
            return False
        self._pieces.append(piece)
        self._chars += len(piece)
        self._tail = tail[-longest_chars:]
        return True

    def take_text(self, piece: str) -> str:
        """Return all of the text with its last piece."""
        return "".join([*self._pieces, piece])


class TextBuffer:
    """The certain text of thinking or answer, at its start perhaps without line ends."""

    __slots__ = ("_pieces", "strips_line_ends")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.strips_line_ends = False

    def add_text(self, text: str) -> None:
        """Add text, without line ends at the start if those are stripped."""
        if self.strips_line_ends:
            text = text.lstrip("\r\n")
            self.strips_line_ends = not text
        if text:
            self._pieces.append(text)

    def take_text(self) -> str:
        """Return the text that was added since the last call."""
        text = "".join(self._pieces)
        self._pieces = []
        return text
