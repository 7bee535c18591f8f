"""Divide a text that comes in pieces into thinking and answer. No I/O.

Only blocks that open an answer count as thinking: `<think …>…</think>` or `<details
type="reasoning" …>…</details>` (its `<summary>` is dropped), several in a row, then perhaps
`<answer>…</answer>` around the rest. Such tags later in the answer stay as they are, and so does
text that only looked like a tag. The joined results do not depend on how a text is cut into pieces.

White space before an opening tag is removed, and so are line ends at the beginning of the thinking
and of the answer that follows it; all other white space stays. Source of the forms: published
clients of K2-Think's site and of other Open WebUI sites, K2-Think's chat template.
"""

from collections.abc import Callable

from providers.wire.tags import (
    ANSWER,
    DETAILS,
    END_ANSWER,
    END_THINK,
    NO_TAG,
    WAIT,
    choose_closing_tag,
    find_thinking_tag_end,
    may_become_tag,
    partial_tag_chars,
    skip_space,
    skip_summary,
)

# a text without an opening tag that gets so long without a closing one counts as thinking
IMPLIED_CHARS = 16_384
AFTER_ANSWER_CHARS = 4_096  # most characters after an </answer> that counts as the last one


class ThinkingParser:
    """One text, fed in pieces and divided into thinking and answer.

    It takes time linear in the length of the text.
    """

    __slots__ = (
        "_answer",
        "_closing_tag",
        "_held_text",
        "_is_implied",
        "_is_wrapped",
        "_position",
        "_reasoning",
        "_searched_until",
        "_state",
    )

    def __init__(self, *, is_implied: bool) -> None:
        self._is_implied = is_implied
        self._held_text = ""
        self._position = 0  # in the held text: what stands before it is done
        self._searched_until = 0  # in the held text: no closing tag begins before it
        self._closing_tag = ""  # the closing tag of the thinking; empty before any thinking
        self._is_wrapped = False  # the answer stands in <answer> tags
        self._reasoning = TextBuffer()
        self._answer = TextBuffer()
        self._state: Callable[[ThinkingParser, bool], bool] = ThinkingParser._find_opening_tag

    def record_separate_thinking(self) -> None:
        """Note that thinking came in its own field: only an opening tag can make text thinking."""
        self._is_implied = False
        self._closing_tag = self._closing_tag or END_THINK

    def feed(self, piece: str, *, is_last: bool = False) -> tuple[str, str]:
        """Return the thinking and the answer that are certain by now; with `is_last` all of it."""
        self._held_text += piece
        while self._state(self, is_last):
            pass
        self._held_text = self._held_text[self._position :]
        self._position = 0
        return self._reasoning.take_text(), self._answer.take_text()

    # --- states: they return False when they need the next piece ----------------------------------
    def _find_opening_tag(self, is_last: bool) -> bool:
        """Find the tag that stands before the answer, or before the kind of text is known."""
        start = skip_space(self._held_text, self._position)
        end = NO_TAG
        if start != NO_TAG:
            end = self._find_tag_end(start)
        if end == WAIT and not is_last:
            return False
        if end < 0:
            return self._handle_untagged_text()
        tag = self._held_text[start:end]
        self._position = end
        if tag == ANSWER:
            self._is_wrapped = True
            self._begin_answer()
        elif tag != END_THINK:
            self._begin_thinking(choose_closing_tag(tag))
            if tag.startswith(DETAILS):
                self._state = ThinkingParser._skip_summary
        return True

    def _handle_untagged_text(self) -> bool:
        if self._is_implied and not self._closing_tag:
            self._state = ThinkingParser._decide_untagged_text
            self._searched_until = self._position
        else:
            self._begin_answer()
        return True

    def _decide_untagged_text(self, is_last: bool) -> bool:
        if (
            self._held_text.find(END_THINK, self._searched_until) >= 0
            or len(self._held_text) - self._position > IMPLIED_CHARS
        ):
            self._begin_thinking(END_THINK)
        elif is_last or not self._is_implied:
            self._begin_answer()
        self._searched_until = max(len(self._held_text) - len(END_THINK) + 1, 0)
        return self._state is not ThinkingParser._decide_untagged_text

    def _skip_summary(self, is_last: bool) -> bool:
        """Skip the heading of a block of details, if it has one."""
        end = skip_summary(self._held_text, self._position)
        if end == WAIT and not is_last:
            return False
        self._position = max(end, self._position)
        self._state = ThinkingParser._pass_thinking
        return True

    def _pass_thinking(self, is_last: bool) -> bool:
        if not self._pass_until_tag(self._closing_tag, self._reasoning, is_last):
            return False
        self._position += len(self._closing_tag)
        self._state = ThinkingParser._find_opening_tag
        return True

    def _pass_answer(self, is_last: bool) -> bool:
        """Pass on the answer up to its closing tag.

        Only an answer after thinking or after <answer> can have a closing tag of its own.
        """
        if not self._closing_tag and not self._is_wrapped:
            self._answer.add_text(self._held_text[self._position :])
            self._position = len(self._held_text)
        elif self._pass_until_tag(END_ANSWER, self._answer, is_last):
            self._state = ThinkingParser._judge_closing_tag
            return True
        return False

    def _judge_closing_tag(self, is_last: bool) -> bool:
        """Decide whether an </answer> is the last one.

        One without its <answer> must stand at the very end.
        """
        start = self._position + len(END_ANSWER)
        if self._may_be_last_closing_tag(start):
            if is_last:
                tail = self._held_text[start:]
                if tail.strip():
                    self._answer.add_text(tail)
                self._position = len(self._held_text)
            return False
        self._answer.add_text(END_ANSWER)
        self._position = start
        self._state = ThinkingParser._pass_answer
        return True

    def _may_be_last_closing_tag(self, end: int) -> bool:
        """Return whether the </answer> that ends here may be the last one, as far as is known."""
        limit = end + AFTER_ANSWER_CHARS
        if self._held_text.find(END_ANSWER, end, limit) >= 0:
            return False
        tail = self._held_text[end : limit + 1]
        return len(tail) <= AFTER_ANSWER_CHARS and (self._is_wrapped or not tail.strip())

    # --- helpers of the states --------------------------------------------------------------------
    def _begin_thinking(self, closing_tag: str) -> None:
        if self._closing_tag:
            self._reasoning.add_text("\n\n")
        self._closing_tag = closing_tag
        self._reasoning.strips_line_ends = True
        self._state = ThinkingParser._pass_thinking

    def _begin_answer(self) -> None:
        self._answer.strips_line_ends = bool(self._closing_tag or self._is_wrapped)
        self._state = ThinkingParser._pass_answer

    def _pass_until_tag(self, tag: str, part: "TextBuffer", is_last: bool) -> bool:
        """Pass the text before `tag` to `part`, and return whether the tag was found.

        If it was not found, a beginning of the tag at the end of the text is held back.
        """
        end = self._held_text.find(tag, self._position)
        is_found = end >= 0
        if not is_found:
            end = len(self._held_text)
            if not is_last:
                end -= partial_tag_chars(tag, self._held_text, self._position)
        part.add_text(self._held_text[self._position : end])
        self._position = end
        return is_found

    def _find_tag_end(self, position: int) -> int:
        """Return the end of the tag at `position` before an answer, or NO_TAG or WAIT."""
        tags = (ANSWER, END_THINK) if self._closing_tag else (ANSWER,)
        for tag in tags:
            if self._held_text.startswith(tag, position):
                return position + len(tag)
            if may_become_tag(tag, self._held_text, position):
                return WAIT
        return find_thinking_tag_end(self._held_text, position)


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
