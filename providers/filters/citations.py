"""Turn citation marks in a model's text into footnotes `[1]` and OpenAI's `annotations`. No I/O.

Kimi's site marks its citations with private-use characters: U+E3A0 `cite` (U+E3A3 reference)…
U+E3A8. A stream may cut a mark anywhere. A mark that is broken off, or that names an unknown
result, leaves no trace. Source: published clients of the site; for annotations OpenAI's API
reference, "Web search".
"""

import re
from typing import Any

MARK_OPENING = "\ue3a0cite\ue3a3"
EMPTY_MARK = "\ue3a0cite\ue3a8"
REFERENCE_SEPARATOR = "\ue3a3"
MARK_CLOSING = "\ue3a8"
MARK_OPENING_PATTERN = re.compile(
    "\ue3a0(?:\\Z|c(?:\\Z|i(?:\\Z|t(?:\\Z|e(?:\\Z|[\ue3a3\ue3a8])))))"
)
MARK_CONTENT_PATTERN = re.compile("[\\w.:\\-\ue3a3]*", re.ASCII)
MOST_MARK_CHARS = 1_000  # characters; references after that are ignored
MOST_URL_CHARS = 8_192


class Sources:
    """The search results of one answer by reference, numbered in the order of their citation."""

    __slots__ = ("_footnote_numbers", "_results")

    def __init__(self) -> None:
        self._results: dict[str, tuple[str, str]] = {}
        self._footnote_numbers: dict[str, int] = {}

    def add_source(self, reference: Any, url: Any, title: Any) -> None:
        """Add a result; one without a web address or without a reference is ignored."""
        named = isinstance(reference, str | int) and str(reference)
        if (
            named
            and isinstance(url, str)
            and url.startswith(("http://", "https://"))
            and len(url) <= MOST_URL_CHARS
        ):
            self._results[str(reference)] = (
                url,
                title if isinstance(title, str) and title else url,
            )

    def assign_footnote_number(self, reference: str) -> int | None:
        """Return the footnote's number, or None for an unknown result."""
        if reference not in self._results:
            return None
        return self._footnote_numbers.setdefault(reference, len(self._footnote_numbers) + 1)

    def build_annotation(self, reference: str, start: int, end: int) -> dict[str, Any]:
        """Return the annotation of a known result for the text from `start` to before `end`.

        Both are character positions.
        """
        url, title = self._results[reference]
        cited = {"start_index": start, "end_index": end, "url": url, "title": title}
        return {"type": "url_citation", "url_citation": cited}

    def build_all_annotations(self, position: int) -> list[dict[str, Any]]:
        """Return all results as annotations of the place `position`.

        This is for an answer that does not say where it uses them.
        """
        return [self.build_annotation(reference, position, position) for reference in self._results]


class CitationReplacer:
    """The state of one running text.

    `replace_marks` returns the text of a piece with its marks replaced. With `wants_footnotes` off
    all marks are removed.
    """

    __slots__ = (
        "_held_text",
        "_open_mark",
        "_returned_chars",
        "_sources",
        "_wants_footnotes",
        "annotations",
    )

    def __init__(self, sources: Sources, *, wants_footnotes: bool = True) -> None:
        self._sources = sources
        self._wants_footnotes = wants_footnotes
        self._held_text = ""  # text that may be the beginning of a mark
        self._open_mark: str | None = None  # the text of the open mark so far
        self._returned_chars = 0  # characters returned so far
        self.annotations: list[dict[str, Any]] = []

    @property
    def returned_chars(self) -> int:
        return self._returned_chars

    def replace_marks(self, piece: str) -> str:
        text = self._held_text + piece
        self._held_text = ""
        said: list[str] = []
        at = 0
        while at < len(text):
            if self._open_mark is not None:
                at = self._read_mark(text, at, said)
                continue
            found = MARK_OPENING_PATTERN.search(text, at)
            if not found:
                self._append_text(text[at:], said)
                break
            start = found.start()
            self._append_text(text[at:start], said)
            at = self._begin_mark(text, start)
        return "".join(said)

    def _begin_mark(self, text: str, start: int) -> int:
        """Handle the beginning of a mark, and return where the text goes on."""
        head = text[start : start + len(MARK_OPENING)]
        if head not in (MARK_OPENING, EMPTY_MARK):  # its rest has not come yet
            self._held_text = head
            return len(text)
        if head == MARK_OPENING:
            self._open_mark = ""
        return start + len(MARK_OPENING)

    def _read_mark(self, text: str, position: int, output_pieces: list[str]) -> int:
        found = MARK_CONTENT_PATTERN.match(text, position)
        end = found.end() if found else position
        self._open_mark = ((self._open_mark or "") + text[position:end])[:MOST_MARK_CHARS]
        if end == len(text):
            return end
        inside = self._open_mark
        self._open_mark = None
        if text[end] != MARK_CLOSING:
            return end  # the mark is broken off
        if self._wants_footnotes:
            self._add_footnotes(inside.split(REFERENCE_SEPARATOR), output_pieces)
        return end + 1

    def _add_footnotes(self, references: list[str], output_pieces: list[str]) -> None:
        for reference in dict.fromkeys(references):
            number = self._sources.assign_footnote_number(reference)
            if number is not None:
                start = self._returned_chars
                self._append_text(f"[{number}]", output_pieces)
                self.annotations.append(
                    self._sources.build_annotation(reference, start, self._returned_chars)
                )

    def _append_text(self, text: str, output_pieces: list[str]) -> None:
        self._returned_chars += len(text)
        output_pieces.append(text)
