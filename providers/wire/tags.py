"""Find the tags around thinking and answers in a text that may be cut anywhere. No I/O.

`<think …>…</think>` and `<details type="reasoning" …><summary>…</summary>…</details>` stand around
thinking, `<answer>… </answer>` around answers. Source: published clients of K2-Think's site and of
other Open WebUI sites.
"""

import re

SPACE_CHARS = 256  # most white space before an opening tag
TAG_CHARS = 512  # longest opening tag with its attributes
SUMMARY_CHARS = 1_024

THINK = "<think"
DETAILS = "<details"
SUMMARY = "<summary>"
ANSWER = "<answer>"
END_THINK = "</think>"
END_DETAILS = "</details>"
END_SUMMARY = "</summary>"
END_ANSWER = "</answer>"
# instead of a position
NO_TAG = -1  # there is none
WAIT = -2  # more text is needed to know
LEADING_SPACE = re.compile(rf"\s{{0,{SPACE_CHARS + 1}}}")


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


def find_thinking_tag_end(text: str, position: int) -> int:
    """Return the end of the tag that opens thinking at `position`, NO_TAG or WAIT."""
    for name in (THINK, DETAILS):
        if text.startswith(name, position):
            return _find_attributes_end(
                text, position + len(name), position + TAG_CHARS, must_be_reasoning=name == DETAILS
            )
    if may_become_tag(THINK, text, position) or may_become_tag(DETAILS, text, position):
        return WAIT
    return NO_TAG


def _find_attributes_end(text: str, position: int, limit: int, *, must_be_reasoning: bool) -> int:
    """Return the end of a tag, read from its attributes on, NO_TAG or WAIT.

    With `must_be_reasoning` the attributes must say that it is a block of reasoning.
    """
    attributes, closing, _ = text[position:limit].partition(">")
    if (attributes and not attributes[0].isspace()) or "<" in attributes or "\n" in attributes:
        return NO_TAG
    if not closing:
        return WAIT if len(text) < limit else NO_TAG
    if must_be_reasoning and 'type="reasoning"' not in attributes.replace("'", '"'):
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


def choose_closing_tag(tag: str) -> str:
    """Return the tag that closes the block opened by `tag`."""
    return END_DETAILS if tag.startswith(DETAILS) else END_THINK
