"""Citation marks in a model's text -> footnotes `[1]` and OpenAI's `annotations`: text -> text, no
I/O.

Kimi's site marks what it found with private-use characters: U+E3A0 `cite` (U+E3A3 reference)…
U+E3A8. A mark is cut anywhere by a stream; one that is broken off, or names results nobody has told
of, leaves no trace. Source: published clients of the site; for annotations OpenAI's API reference,
"Web search".
"""

import re
from typing import Any

BEGIN = "\ue3a0cite\ue3a3"
EMPTY = "\ue3a0cite\ue3a8"
SEPARATOR = "\ue3a3"
CLOSING = "\ue3a8"
START = re.compile("\ue3a0(?:\\Z|c(?:\\Z|i(?:\\Z|t(?:\\Z|e(?:\\Z|[\ue3a3\ue3a8])))))")
INSIDE = re.compile("[\\w.:\\-\ue3a3]*", re.ASCII)
LONGEST_MARK = 1_000  # characters; references after that are not looked at
LONGEST_URL = 8_192


class Sources:
    """The search results of one answer by their reference, numbered in the order in which the text
    cites them.
    """

    __slots__ = ("_cited", "_found")

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str]] = {}
        self._cited: dict[str, int] = {}

    def add(self, reference: Any, url: Any, title: Any) -> None:
        """Take a result; one without an address of the web, or without a reference, is none."""
        named = isinstance(reference, str | int) and str(reference)
        if (
            named
            and isinstance(url, str)
            and url.startswith(("http://", "https://"))
            and len(url) <= LONGEST_URL
        ):
            self._found[str(reference)] = (url, title if isinstance(title, str) and title else url)

    def number(self, reference: str) -> int | None:
        """The footnote's number, or None for a result that is not known."""
        if reference not in self._found:
            return None
        return self._cited.setdefault(reference, len(self._cited) + 1)

    def annotation(self, reference: str, start: int, end: int) -> dict[str, Any]:
        """What of the text from character `start` to before `end` is said of a known result."""
        url, title = self._found[reference]
        cited = {"start_index": start, "end_index": end, "url": url, "title": title}
        return {"type": "url_citation", "url_citation": cited}

    def all(self, at: int) -> list[dict[str, Any]]:
        """All results as annotations of the place `at`, for an answer that does not say where it
        uses them.
        """
        return [self.annotation(reference, at, at) for reference in self._found]


class Citations:
    """One running text. `text` returns what goes on of a piece; with `cite` off all marks just
    go.
    """

    __slots__ = ("_cite", "_held", "_inside", "_length", "_sources", "annotations")

    def __init__(self, sources: Sources, *, cite: bool = True) -> None:
        self._sources = sources
        self._cite = cite
        self._held = ""  # what may be the beginning of a mark
        self._inside: str | None = None  # what came of the mark that is open
        self._length = 0  # characters that went on
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
        """What the beginning of a mark means; where the text goes on."""
        head = text[start : start + len(BEGIN)]
        if head not in (BEGIN, EMPTY):  # the rest of it has not come
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
            return end  # it broke off
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
