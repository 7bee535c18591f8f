"""Turn citation marks in a model's text into footnotes `[1]` and OpenAI's `annotations`. No I/O.

Kimi's site marks its citations with private-use characters: U+E3A0 `cite` (U+E3A3 reference)…
U+E3A8. A stream may cut a mark anywhere. A mark that is broken off, or that names an unknown
result, leaves no trace. Source: published clients of the site; for annotations OpenAI's API
reference, "Web search".
"""

import re
from typing import Any

BEGIN = "\ue3a0cite\ue3a3"
EMPTY = "\ue3a0cite\ue3a8"
SEPARATOR = "\ue3a3"
CLOSING = "\ue3a8"
START = re.compile("\ue3a0(?:\\Z|c(?:\\Z|i(?:\\Z|t(?:\\Z|e(?:\\Z|[\ue3a3\ue3a8])))))")
INSIDE = re.compile("[\\w.:\\-\ue3a3]*", re.ASCII)
LONGEST_MARK = 1_000  # characters; references after that are ignored
LONGEST_URL = 8_192


class Sources:
    """The search results of one answer by reference, numbered in the order of their citation."""

    __slots__ = ("_cited", "_found")

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str]] = {}
        self._cited: dict[str, int] = {}

    def add(self, reference: Any, url: Any, title: Any) -> None:
        """Add a result; one without a web address or without a reference is ignored."""
        named = isinstance(reference, str | int) and str(reference)
        if (
            named
            and isinstance(url, str)
            and url.startswith(("http://", "https://"))
            and len(url) <= LONGEST_URL
        ):
            self._found[str(reference)] = (url, title if isinstance(title, str) and title else url)

    def number(self, reference: str) -> int | None:
        """Return the footnote's number, or None for an unknown result."""
        if reference not in self._found:
            return None
        return self._cited.setdefault(reference, len(self._cited) + 1)

    def annotation(self, reference: str, start: int, end: int) -> dict[str, Any]:
        """Return the annotation of a known result for the text from `start` to before `end`.

        Both are character positions.
        """
        url, title = self._found[reference]
        cited = {"start_index": start, "end_index": end, "url": url, "title": title}
        return {"type": "url_citation", "url_citation": cited}

    def all(self, at: int) -> list[dict[str, Any]]:
        """Return all results as annotations of the place `at`.

        This is for an answer that does not say where it uses them.
        """
        return [self.annotation(reference, at, at) for reference in self._found]


class Citations:
    """The state of one running text.

    `text` returns the text of a piece with its marks replaced. With `cite` off all marks are
    removed.
    """

    __slots__ = ("_cite", "_held", "_inside", "_length", "_sources", "annotations")

    def __init__(self, sources: Sources, *, cite: bool = True) -> None:
        self._sources = sources
        self._cite = cite
        self._held = ""  # text that may be the beginning of a mark
        self._inside: str | None = None  # the text of the open mark so far
        self._length = 0  # characters returned so far
        self.annotations: list[dict[str, Any]] = []

    @property
    def length(self) -> int:
        return self._length

    def text(self, piece: str) -> str:
        text = self._held + piece
        self._held = ""
        said: list[str] = []
        at = 0
        while at < len(text):
            if self._inside is not None:
                at = self._in_mark(text, at, said)
                continue
            found = START.search(text, at)
            if not found:
                self._say(text[at:], said)
                break
            start = found.start()
            self._say(text[at:start], said)
            at = self._opening(text, start)
        return "".join(said)

    def _opening(self, text: str, start: int) -> int:
        """Handle the beginning of a mark, and return where the text goes on."""
        head = text[start : start + len(BEGIN)]
        if head not in (BEGIN, EMPTY):  # its rest has not come yet
            self._held = head
            return len(text)
        if head == BEGIN:
            self._inside = ""
        return start + len(BEGIN)

    def _in_mark(self, text: str, at: int, said: list[str]) -> int:
        found = INSIDE.match(text, at)
        end = found.end() if found else at
        self._inside = ((self._inside or "") + text[at:end])[:LONGEST_MARK]
        if end == len(text):
            return end
        inside = self._inside
        self._inside = None
        if text[end] != CLOSING:
            return end  # the mark is broken off
        if self._cite:
            self._footnotes(inside.split(SEPARATOR), said)
        return end + 1

    def _footnotes(self, references: list[str], said: list[str]) -> None:
        for reference in dict.fromkeys(references):
            number = self._sources.number(reference)
            if number is not None:
                start = self._length
                self._say(f"[{number}]", said)
                self.annotations.append(self._sources.annotation(reference, start, self._length))

    def _say(self, text: str, said: list[str]) -> None:
        self._length += len(text)
        said.append(text)
