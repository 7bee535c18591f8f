"""The tags that stand around thinking and answers in a text, found wherever the text is cut: no
I/O.

`<think …>…</think>` and `<details type="reasoning" …><summary>…</summary>…</details>` around
thinking, `<answer>… </answer>` around answers. Source: published clients of K2-Think's site and of
other Open WebUI sites.
"""

import re

SPACE_CHARS = 256  # of white space before an opening tag
TAG_CHARS = 512  # of an opening tag with its attributes
SUMMARY_CHARS = 1_024

THINK = "<think"
DETAILS = "<details"
SUMMARY = "<summary>"
ANSWER = "<answer>"
END_THINK = "</think>"
END_DETAILS = "</details>"
END_SUMMARY = "</summary>"
END_ANSWER = "</answer>"
NO_TAG = -1
WAIT = -2  # instead of a place: there is none, or that cannot be told yet
SPACE = re.compile(rf"\s{{0,{SPACE_CHARS + 1}}}")


def past_space(text: str, at: int) -> int:
    """Where the text goes on after white space; NO_TAG when that is too long for a tag to
    follow.
    """
    found = SPACE.match(text, at)
    end = found.end() if found else at
    return end if end - at <= SPACE_CHARS else NO_TAG


def may_become(tag: str, text: str, at: int) -> bool:
    """Whether what stands at `at` is `tag`, or the beginning of it that the text ends with."""
    return tag.startswith(text[at : at + len(tag)])


def begun(tag: str, text: str, at: int) -> int:
    """How many characters at the end of the text (from `at` on) may be the beginning of `tag`."""
    longest = min(len(tag) - 1, len(text) - at)
    return next((size for size in range(longest, 0, -1) if text.endswith(tag[:size])), 0)


def thinking_tag(text: str, at: int) -> int:
    """Where the tag that opens thinking at `at` ends, NO_TAG or WAIT."""
    for name in (THINK, DETAILS):
        if text.startswith(name, at):
            return _attributes(text, at + len(name), at + TAG_CHARS, reasoning=name == DETAILS)
    return WAIT if may_become(THINK, text, at) or may_become(DETAILS, text, at) else NO_TAG


def _attributes(text: str, at: int, limit: int, *, reasoning: bool) -> int:
    """The same from its attributes on; with `reasoning` they must say that it is a block of
    that.
    """
    end = text.find(">", at, limit)
    inside = text[at : end if end >= 0 else limit]
    if (inside and not inside[0].isspace()) or "<" in inside or "\n" in inside:
        return NO_TAG
    if end < 0:
        return WAIT if len(text) < limit else NO_TAG
    return end + 1 if not reasoning or 'type="reasoning"' in inside.replace("'", '"') else NO_TAG


def past_summary(text: str, at: int) -> int:
    """Where a block of details goes on after its summary, if it has one; WAIT when that cannot be
    told yet.
    """
    start = past_space(text, at)
    if start == NO_TAG or not may_become(SUMMARY, text, start):
        return at
    end = text.find(END_SUMMARY, start, start + SUMMARY_CHARS)
    if end >= 0:
        return end + len(END_SUMMARY)
    return WAIT if len(text) - start < SUMMARY_CHARS else at


def closing(tag: str) -> str:
    """What closes the block that `tag` opens."""
    return END_DETAILS if tag.startswith(DETAILS) else END_THINK
