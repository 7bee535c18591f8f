"""Find the new part of a text that an upstream sends whole each time. No I/O.

Some sites stream snapshots (all of the text so far), and render them again while they grow: a block
of thinking (`<details type="reasoning" …>`, `<think …>`) gets other attributes and another summary
when it closes. So a snapshot that opens with such blocks is read as two texts, thinking and answer,
and each of them grows by itself:

- thinking is passed on as it grows, without tags and summary, up to a possible beginning of the
  closing tag;
- the answer is passed on when the block has closed; a block that says `done="false"` is open even
  with a closing tag;
- a text that opens with no block is the answer, with all its tags (a later filter finds thinking
  that has only a closing tag).

Text that was sent is never sent again and never taken back. If a text was rewritten, the end of the
sent text is looked for in the new one, and the text after that place is sent. While there is no
such place the text waits; at the end of the stream the part beyond the sent length is sent. Source
of the form: published clients of K2-Think's site, which runs an Open WebUI.
"""

import re
from typing import NamedTuple

from providers.wire.tags import (
    END_THINK,
    NO_TAG,
    WAIT,
    choose_closing_tag,
    find_thinking_tag_end,
    partial_tag_chars,
    skip_space,
    skip_summary,
)

QUOTE_MARK = re.compile(
    r"^> ?", re.MULTILINE
)  # the site quotes the lines of a block that it closes
ANCHOR_CHARS = (
    64,
    32,
    16,
    8,
)  # lengths of the end of the sent text that is looked for in a rewritten text


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
        self._thinking, self._answer = GrowingText(), GrowingText()
        self._is_thinking_complete = False  # the thinking is complete
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
        if (
            thinking is not None
            and self._answer.last_version
            and not self._thinking.last_version
            and not self._is_thinking_complete
        ):
            # a block appeared around text that was sent as the answer, so the rest must follow
            # in the answer too
            answer = thinking if answer is None else thinking + END_THINK + answer
            thinking = None
        thought = ""
        if thinking is not None and not self._is_thinking_complete:
            self._is_thinking_complete = answer is not None
            thought = self._thinking.take_new_part(
                thinking, is_last=self._is_thinking_complete or is_last
            )
        return NewText(
            thought, "" if answer is None else self._answer.take_new_part(answer, is_last=is_last)
        )


class GrowingText:
    """A text that grows; `last_version` is the version that was read last."""

    __slots__ = ("last_version",)

    def __init__(self) -> None:
        self.last_version = ""

    def take_new_part(self, text: str, *, is_last: bool) -> str:
        """Return the new part of `text`; nothing if it is an older or unmatched version.

        With `is_last` the part beyond the length of the seen text is returned even if the text does
        not match.
        """
        if text.startswith(self.last_version):
            at = len(self.last_version)
        else:
            at = find_resumption(self.last_version, text)
            if at < 0 and not is_last:
                return ""
            at = at if at >= 0 else len(self.last_version)
        self.last_version = text
        return text[at:]


def find_resumption(sent: str, text: str) -> int:
    """Return where the rewritten `text` continues after the end of `sent`; -1 if it does not."""
    same = common_prefix_chars(sent, text)
    for size in ANCHOR_CHARS:
        if size <= len(sent):
            found = text.find(sent[-size:], max(same - size + 1, 0))
            if found >= 0:
                return found + size
    return -1


def common_prefix_chars(one: str, other: str) -> int:
    """Return the length of the common beginning of both texts."""
    low = 0
    high = min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def parse_snapshot(text: str, *, is_last: bool = False) -> Snapshot:
    """Return the blocks of thinking that open `text`, and the answer after them.

    `is_last`: no more text will follow.
    """
    at = 0
    thoughts = []
    answer = None
    while True:
        start = skip_space(text, at)
        end = NO_TAG if start == NO_TAG else find_thinking_tag_end(text, start)
        if end < 0:
            answer = text[at:] if is_last or end == NO_TAG else None
            break
        tag = text[start:end]
        inner = skip_summary(text, end) if tag.startswith("<details") else end
        inner = end if inner == WAIT and is_last else inner
        found = text.find(choose_closing_tag(tag), max(inner, end))
        until = (
            found
            if found >= 0
            else len(text)
            - (0 if is_last else partial_tag_chars(choose_closing_tag(tag), text, max(inner, end)))
        )
        thought = "" if inner == WAIT else text[inner:until].strip("\r\n")
        thoughts.append(QUOTE_MARK.sub("", thought) if tag.startswith("<details") else thought)
        if found < 0 or (not is_last and is_open_block(tag)):
            break
        at = found + len(choose_closing_tag(tag))
    return Snapshot("\n\n".join(thoughts) if thoughts else None, answer)


def is_open_block(tag: str) -> bool:
    return 'done="false"' in tag
