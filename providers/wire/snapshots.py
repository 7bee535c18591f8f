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
    begun,
    closing,
    past_space,
    past_summary,
    thinking_tag,
)

QUOTED = re.compile(r"^> ?", re.MULTILINE)  # the site quotes the lines of a block that it closes
ANCHORS = (
    64,
    32,
    16,
    8,
)  # lengths of the end of the sent text that is looked for in a rewritten text


class Said(NamedTuple):
    """The new part of both texts."""

    thinking: str = ""
    answer: str = ""


class Snapshot(NamedTuple):
    """One snapshot, read.

    `thinking` is None if no block opens it, `answer` is None if it has not begun.
    """

    thinking: str | None
    answer: str | None


class Cumulative:
    """One text: `take` every snapshot of it, then `close`."""

    __slots__ = ("_answer", "_last", "_thinking", "_thought")

    def __init__(self) -> None:
        self._thinking, self._answer = Growing(), Growing()
        self._thought = False  # the thinking is complete
        self._last = ""

    def take(self, text: str) -> Said:
        if "\ud800" <= text[-1:] <= "\udbff":  # cut between the halves of a character
            text = text[:-1]
        self._last = text
        return self._grow(read(text), last=False)

    def close(self) -> Said:
        """Return the text that still waited: no more snapshots come."""
        return self._grow(read(self._last, last=True), last=True)

    def _grow(self, snapshot: Snapshot, *, last: bool) -> Said:
        thinking, answer = snapshot
        if (
            thinking is not None
            and self._answer.seen
            and not self._thinking.seen
            and not self._thought
        ):
            # a block appeared around text that was sent as the answer, so the rest must follow
            # in the answer too
            answer = thinking if answer is None else thinking + END_THINK + answer
            thinking = None
        thought = ""
        if thinking is not None and not self._thought:
            self._thought = answer is not None
            thought = self._thinking.grow(thinking, last=self._thought or last)
        return Said(thought, "" if answer is None else self._answer.grow(answer, last=last))


class Growing:
    """A text that grows; `seen` is the version that was read last."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = ""

    def grow(self, text: str, *, last: bool) -> str:
        """Return the new part of `text`; nothing if it is an older or unmatched version.

        With `last` the part beyond the length of the seen text is returned even if the text does
        not match.
        """
        if text.startswith(self.seen):
            at = len(self.seen)
        else:
            at = resumption(self.seen, text)
            if at < 0 and not last:
                return ""
            at = at if at >= 0 else len(self.seen)
        self.seen = text
        return text[at:]


def resumption(sent: str, text: str) -> int:
    """Return where the rewritten `text` continues after the end of `sent`; -1 if it does not."""
    same = common_length(sent, text)
    for size in ANCHORS:
        if size <= len(sent):
            found = text.find(sent[-size:], max(same - size + 1, 0))
            if found >= 0:
                return found + size
    return -1


def common_length(one: str, other: str) -> int:
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


def read(text: str, *, last: bool = False) -> Snapshot:
    """Return the blocks of thinking that open `text`, and the answer after them.

    `last`: no more text will follow.
    """
    at = 0
    thoughts = []
    answer = None
    while True:
        start = past_space(text, at)
        end = NO_TAG if start == NO_TAG else thinking_tag(text, start)
        if end < 0:
            answer = text[at:] if last or end == NO_TAG else None
            break
        tag = text[start:end]
        inner = past_summary(text, end) if tag.startswith("<details") else end
        inner = end if inner == WAIT and last else inner
        found = text.find(closing(tag), max(inner, end))
        until = (
            found
            if found >= 0
            else len(text) - (0 if last else begun(closing(tag), text, max(inner, end)))
        )
        thought = "" if inner == WAIT else text[inner:until].strip("\r\n")
        thoughts.append(QUOTED.sub("", thought) if tag.startswith("<details") else thought)
        if found < 0 or (not last and is_open(tag)):
            break
        at = found + len(closing(tag))
    return Snapshot("\n\n".join(thoughts) if thoughts else None, answer)


def is_open(tag: str) -> bool:
    return 'done="false"' in tag
