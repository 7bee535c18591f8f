"""Find the new part of a text that an upstream sends whole each time. No I/O.

Some sites stream snapshots (all of the text so far), and render them again while they grow: a block
of thinking (`<details type="reasoning" …>`, `<think …>`) gets other attributes and another summary
when it closes. So a snapshot that opens with such blocks is read as two texts, thinking and answer,
and each of them grows by itself:

- thinking is passed on as it grows, without tags and summary, up to a possible beginning of the
  closing tag;
- the answer is passed on when the block has closed; a block that says `done="false"` is open even
  with a closing tag;
- marks that close something at the end of a snapshot (`</answer>`, a fence of code) wait, because
  the next snapshot may have more text before them;
- a text that opens with no block is the answer, with all its tags (a later filter finds thinking
  that has only a closing tag).

Text that was sent is never sent again and never taken back. If a text was rewritten, the end of the
sent text is looked for in the new one, and the text after that place is sent. While there is no
such place the text waits; at the end of the stream the part beyond the sent length is sent. Source
of the form: published clients of K2-Think's site, which runs an Open WebUI.
"""

import re
from typing import NamedTuple

from providers.wire.tag_families import ANSWER, OPEN_WEBUI_TAGS
from providers.wire.tags import (
    NO_TAG,
    WAIT,
    OpeningTag,
    TagMatch,
    find_opening_tag,
    skip_space,
    skip_summary,
)

# the site quotes the lines of a block that it closes
QUOTE_MARK = re.compile(r"^> ?", re.MULTILINE)
# marks at the end of a text that the site may have added only to close it: end tags, fences, marks
# of Markdown
CLOSING_MARKS = re.compile(r"\s*+(?:(?:</[A-Za-z][\w:-]*+\s*+>|[`~*_$]++)\s*+)++\Z")
CLOSING_CHARS = 64  # most characters of such marks
WORD_SIGN = re.compile(r"\w")
# lengths of the end of the sent text that is looked for in a rewritten text
ANCHOR_CHARS = (64, 32, 16, 8)


class NewText(NamedTuple):
    """The new part of both texts."""

    thinking: str = ""
    answer: str = ""


class Snapshot(NamedTuple):
    """One snapshot, read.

    `thinking` is None if no block opens it, `answer` is None if it has not begun.
    """

    thinking: str | None
    answer: str | None


class SnapshotReader:
    """One text: `read_snapshot` every snapshot of it, then `finish_text`."""

    __slots__ = ("_answer", "_is_thinking_complete", "_last_snapshot", "_thinking")

    def __init__(self) -> None:
        self._thinking = GrowingText()
        self._answer = GrowingText()
        self._is_thinking_complete = False
        self._last_snapshot = ""

    def read_snapshot(self, text: str) -> NewText:
        if "\ud800" <= text[-1:] <= "\udbff":  # cut between the halves of a character
            text = text[:-1]
        self._last_snapshot = text
        return self._grow_texts(parse_snapshot(text), is_last=False)

    def finish_text(self) -> NewText:
        """Return the text that still waited: no more snapshots come."""
        return self._grow_texts(parse_snapshot(self._last_snapshot, is_last=True), is_last=True)

    def _grow_texts(self, snapshot: Snapshot, *, is_last: bool) -> NewText:
        thinking, answer = snapshot
        if answer is not None and not is_last and not has_begun(answer):
            answer = None
        if self._is_thinking_complete:
            thinking = None
        if thinking is not None and self._answer.last_version and not self._thinking.last_version:
            # a block appeared around text that was sent as the answer, so the rest must follow
            # in the answer too
            if answer is not None:
                thinking += "</think>" + answer
            answer = thinking
            thinking = None
        new_thinking = ""
        if thinking is not None:
            self._is_thinking_complete = answer is not None
            new_thinking = self._thinking.take_new_part(
                thinking, is_last=self._is_thinking_complete or is_last
            )
        new_answer = ""
        if answer is not None:
            new_answer = self._answer.take_new_part(answer, is_last=is_last)
        return NewText(new_thinking, new_answer)


def has_begun(answer: str) -> bool:
    """Return whether an answer has more than white space and its own tags."""
    return bool(cut_closing_marks(answer).strip().removeprefix(ANSWER))


class GrowingText:
    """A text that grows; `last_version` is what was read of the last version."""

    __slots__ = ("last_version",)

    def __init__(self) -> None:
        self.last_version = ""

    def take_new_part(self, text: str, *, is_last: bool) -> str:
        """Return the new part of `text`; nothing if it is an older or unmatched version.

        Before the last version, marks that close something at the end of the text are not read.
        With `is_last` the part beyond the length of the seen text is returned even if the text does
        not match.
        """
        if not is_last:
            text = cut_closing_marks(text)
        start = len(self.last_version)
        if not text.startswith(self.last_version):
            if self.last_version.startswith(text):
                return ""
            start = find_resumption(self.last_version, text)
            if start < 0 and not is_last:
                return ""
            if start < 0:
                start = len(self.last_version)
        self.last_version = text
        return text[start:]


def cut_closing_marks(text: str) -> str:
    """Return the text without the marks at its end that may only close it for now."""
    start = max(len(text) - CLOSING_CHARS, 0)
    if marks := CLOSING_MARKS.search(text, start):
        return text[: marks.start()]
    return text


def find_resumption(sent: str, text: str) -> int:
    """Return where the rewritten `text` continues after the end of `sent`; -1 if it does not.

    When text was put in before closing marks that were sent, it continues before that text.
    """
    common_chars = common_prefix_chars(sent, text)
    closing = sent[common_chars:]
    if len(closing) <= CLOSING_CHARS and text.endswith(closing) and not WORD_SIGN.search(closing):
        return common_chars
    for size in ANCHOR_CHARS:
        if size > len(sent):
            continue
        anchor = text.find(sent[-size:], max(common_chars - size + 1, 0))
        if anchor >= 0:
            return anchor + size
    return -1


def common_prefix_chars(first: str, second: str) -> int:
    """Return the length of the common beginning of both texts."""
    low = 0
    high = min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first.startswith(second[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def parse_snapshot(text: str, *, is_last: bool = False) -> Snapshot:
    """Return the blocks of thinking that open `text`, and the answer after them.

    `is_last`: no more text will follow.
    """
    position = 0
    thoughts = []
    answer = None
    while True:
        start = skip_space(text, position)
        match = TagMatch(NO_TAG)
        if start != NO_TAG:
            match = find_opening_tag(text, start, OPEN_WEBUI_TAGS)
        if match.tag is None:
            if is_last or match.end == NO_TAG:
                answer = text[position:]
            break
        thought, block_end = parse_block(match.tag, text, match.end, is_last=is_last)
        thoughts.append(thought)
        if block_end == WAIT or (not is_last and is_open_block(text[start : match.end])):
            break
        position = block_end
    return Snapshot("\n\n".join(thoughts) if thoughts else None, answer)


def parse_block(tag: OpeningTag, text: str, tag_end: int, *, is_last: bool) -> tuple[str, int]:
    """Return the thinking in a block, and where the block ends; WAIT if it has no end yet.

    `tag` is the tag that opens it, and ends at `tag_end`.
    """
    start = tag_end
    if tag.has_summary:
        start = skip_summary(text, tag_end)
    is_in_summary = start == WAIT and not is_last
    start = max(start, tag_end)
    closing = tag.closing.find(text, start)
    if closing is not None:
        end = closing.start()
        block_end = closing.end()
    else:
        block_end = WAIT
        end = len(text)
        if not is_last:
            end -= tag.closing.count_partial_chars(text, start)
    thought = text[start:end].strip("\r\n")
    if is_in_summary:
        thought = ""
    elif tag.has_summary:
        thought = QUOTE_MARK.sub("", thought)
    return thought, block_end


def is_open_block(tag: str) -> bool:
    """Return whether the tag of a block says that it is not complete."""
    return 'done="false"' in tag
