"""Find the tags around thinking and answers in a text that may be cut anywhere. No I/O.

`providers/wire/tag_families.py` says which tags there are.
"""

import re
from typing import NamedTuple

SPACE_CHARS = 256  # most white space before an opening tag
TAG_CHARS = 512  # longest opening tag with its attributes
SUMMARY_CHARS = 1_024
BLANK_CHARS = 16  # most white space within a closing tag, as in `</think >`

SUMMARY = "<summary>"
END_SUMMARY = "</summary>"
# instead of a position
NO_TAG = -1  # there is none
WAIT = -2  # more text is needed to know
LEADING_SPACE = re.compile(rf"\s{{0,{SPACE_CHARS + 1}}}")


class ClosingTag:
    """A tag that closes thinking or an answer, in one of its spellings.

    Before the `>` of a spelling that begins with `</` there may be white space.
    """

    __slots__ = ("_partial_pattern", "_pattern", "_spellings", "longest_chars")

    def __init__(self, *spellings: str) -> None:
        self._spellings = spellings
        self.longest_chars = max(map(len, spellings)) + BLANK_CHARS
        patterns = []
        partial_patterns = []
        for spelling in spellings:
            stem = re.escape(spelling[:-1])
            if spelling.startswith("</"):
                patterns.append(rf"{stem}\s{{0,{BLANK_CHARS}}}>")
                partial_patterns.append(rf"{stem}\s{{1,{BLANK_CHARS}}}\Z")
            else:
                patterns.append(re.escape(spelling))
        self._pattern = re.compile("|".join(patterns))
        self._partial_pattern = re.compile("|".join(partial_patterns) or "(?!)")

    def find(self, text: str, start: int, limit: int | None = None) -> re.Match[str] | None:
        """Return the first closing tag at or after `start`, before `limit`; None without one."""
        return self._pattern.search(text, start, len(text) if limit is None else limit)

    def count_partial_chars(self, text: str, start: int) -> int:
        """Return how many characters at the end of the text, from `start` on, may begin the tag."""
        if match := self._partial_pattern.search(text, max(len(text) - self.longest_chars, start)):
            return len(text) - match.start()
        return max(partial_tag_chars(spelling, text, start) for spelling in self._spellings)


class OpeningTag(NamedTuple):
    """A tag that opens thinking or an answer.

    `text` is all of it, or its beginning when attributes may follow (`<think` for `<think …>`).
    `attribute` is an attribute that it must have. `answer_closing` closes the answer that follows
    the thinking, if anything does.
    """

    text: str
    closing: ClosingTag
    has_attributes: bool = False
    attribute: str = ""
    has_summary: bool = False
    is_answer: bool = False
    answer_closing: ClosingTag | None = None

    def find_end(self, text: str, position: int) -> int:
        """Return the end of this tag at `position`, NO_TAG or WAIT."""
        start = position + len(self.text)
        if text.startswith(self.text, position):
            if not self.has_attributes:
                return start
            return _find_attributes_end(text, start, position + TAG_CHARS, self.attribute)
        return WAIT if may_become_tag(self.text, text, position) else NO_TAG


class TagMatch(NamedTuple):
    """The opening tag at a position, and where it ends; NO_TAG or WAIT instead of the end."""

    end: int
    tag: OpeningTag | None = None


def find_opening_tag(text: str, position: int, tags: tuple[OpeningTag, ...]) -> TagMatch:
    """Return which of the tags stands at `position`."""
    end_without_tag = NO_TAG
    for tag in tags:
        end = tag.find_end(text, position)
        if end >= 0:
            return TagMatch(end, tag)
        if end == WAIT:
            end_without_tag = WAIT
    return TagMatch(end_without_tag)


def skip_space(text: str, position: int) -> int:
    """Return the position after white space; NO_TAG if that is too long for a tag to follow."""
    if space := LEADING_SPACE.match(text, position):
        if space.end() - position > SPACE_CHARS:
            return NO_TAG
        return space.end()
    return position


def may_become_tag(tag: str, text: str, position: int) -> bool:
    """Return whether the text at `position` is `tag`, or ends with a beginning of it."""
    return tag.startswith(text[position : position + len(tag)])


def partial_tag_chars(tag: str, text: str, position: int) -> int:
    """Return how many characters at the end of the text, from `position` on, may begin `tag`."""
    longest = min(len(tag) - 1, len(text) - position)
    return next((size for size in range(longest, 0, -1) if text.endswith(tag[:size])), 0)


def _find_attributes_end(text: str, position: int, limit: int, attribute: str) -> int:
    """Return the end of a tag, read from its attributes on, NO_TAG or WAIT.

    The attributes must have `attribute` in them, in double or single quotes.
    """
    attributes, closing, _ = text[position:limit].partition(">")
    if (attributes and not attributes[0].isspace()) or "<" in attributes or "\n" in attributes:
        return NO_TAG
    if not closing:
        return WAIT if len(text) < limit else NO_TAG
    if attribute not in attributes.replace("'", '"'):
        return NO_TAG
    return position + len(attributes) + len(closing)


def skip_summary(text: str, position: int) -> int:
    """Return the position after the summary of a block of details, if it has one.

    Returns WAIT if more text is needed to know.
    """
    start = skip_space(text, position)
    if start == NO_TAG or not may_become_tag(SUMMARY, text, start):
        return position
    end = text.find(END_SUMMARY, start, start + SUMMARY_CHARS)
    if end >= 0:
        return end + len(END_SUMMARY)
    return WAIT if len(text) - start < SUMMARY_CHARS else position
