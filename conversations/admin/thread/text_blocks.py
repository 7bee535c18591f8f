"""Split a text that a model or a person wrote into prose and code.

Both are shown as text, which templates escape; nothing of Markdown is interpreted but the fences
around code.
"""

import re
from typing import NamedTuple

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^`]*\Z")


class TextBlock(NamedTuple):
    """One block: prose, or code with the name of its language, which may be empty."""

    text: str
    is_code: bool = False
    language: str = ""


def split_blocks(text: str) -> list[TextBlock]:
    """Return the blocks of a text in their order; a fence that is never closed ends with it."""
    blocks: list[TextBlock] = []
    lines: list[str] = []
    fence: re.Match[str] | None = None
    for line in text.split("\n"):
        opening = FENCE.match(line) if fence is None else None
        is_end = fence is not None and closes(line, fence[1])
        if opening is None and not is_end:
            lines.append(line)
            continue
        add_block(blocks, lines, fence)
        lines = []
        fence = opening
    add_block(blocks, lines, fence)
    return blocks


def closes(line: str, mark: str) -> bool:
    """Return whether a line ends the code that a fence of this mark began."""
    stripped = line.strip()
    return len(stripped) >= len(mark) and stripped == mark[0] * len(stripped)


def add_block(blocks: list[TextBlock], lines: list[str], fence: re.Match[str] | None) -> None:
    """Add the lines to the blocks: as code after a fence, as prose unless they are blank."""
    text = "\n".join(lines)
    if fence is not None:
        blocks.append(TextBlock(text, is_code=True, language=fence[2]))
    elif text.strip():
        blocks.append(TextBlock(text.strip("\n")))
