"""Turn citation marks in a model's text into footnotes `[1]` and OpenAI's `annotations`. No I/O.

Kimi's site marks its citations with private-use characters: U+E3A0 `cite` (U+E3A3 reference)…
U+E3A8. A stream may cut a mark anywhere. A mark that is broken off, or that names an unknown
result, leaves no trace. Source: published clients of the site; for annotations OpenAI's API
reference, "Web search".
"""

import re

from providers.protocol.json_types import JsonObject

MARK_OPENING = "\ue3a0cite\ue3a3"
EMPTY_MARK = "\ue3a0cite\ue3a8"
REFERENCE_SEPARATOR = "\ue3a3"
MARK_CLOSING = "\ue3a8"
MARK_OPENING_PATTERN = re.compile(
    "\ue3a0(?:\\Z|c(?:\\Z|i(?:\\Z|t(?:\\Z|e(?:\\Z|[\ue3a3\ue3a8])))))"
)
MARK_CONTENT_PATTERN = re.compile("[\\w.:\\-\ue3a3]*", re.ASCII)
MOST_MARK_CHARS = 1_000  # references after that are ignored
MOST_URL_CHARS = 8_192


class Sources:
    """The search results of one answer by reference, numbered in the order of their citation."""

    __slots__ = ("_footnote_numbers", "_results")

    def __init__(self) -> None:
        self._results: dict[str, tuple[str, str]] = {}
        self._footnote_numbers: dict[str, int] = {}

    def add_source(self, reference: object, url: object, title: object) -> None:
        """Add a result; one without a web address or without a reference is ignored."""
        if not isinstance(reference, str | int) or reference == "":
            return
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return
        if len(url) > MOST_URL_CHARS:
            return
        if not isinstance(title, str) or not title:
            title = url
        self._results[str(reference)] = (url, title)

    def assign_footnote_number(self, reference: str) -> int | None:
        """Return the footnote's number, or None for an unknown result."""
        if reference not in self._results:
            return None
        return self._footnote_numbers.setdefault(reference, len(self._footnote_numbers) + 1)

    def build_annotation(self, reference: str, start: int, end: int) -> JsonObject:
        """Return the annotation of a known result for the text from `start` to before `end`.

        Both are character positions.
        """
        url, title = self._results[reference]
        citation = {"start_index": start, "end_index": end, "url": url, "title": title}
        return {"type": "url_citation", "url_citation": citation}

    def build_all_annotations(self, position: int) -> list[JsonObject]:
        """Return all results as annotations of the place `position`.

        This is for an answer that does not say where it uses them.
        """
        return [self.build_annotation(reference, position, position) for reference in self._results]


class CitationReplacer:
    """The state of one running text; with `wants_footnotes` off all marks are removed."""

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
        self.annotations: list[JsonObject] = []

    @property
    def returned_chars(self) -> int:
        return self._returned_chars

    def replace_marks(self, piece: str) -> str:
        """Return the text of a piece, with footnotes in place of its marks."""
        text = self._held_text + piece
        self._held_text = ""
        output_pieces: list[str] = []
        position = 0
        while position < len(text):
            if self._open_mark is not None:
                position = self._read_mark(text, position, output_pieces)
                continue
            opening = MARK_OPENING_PATTERN.search(text, position)
            if not opening:
                self._append_text(text[position:], output_pieces)
                break
            self._append_text(text[position : opening.start()], output_pieces)
            position = self._begin_mark(text, opening.start())
        return "".join(output_pieces)

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
        """Read the content of the open mark, and return where the text goes on."""
        end = position
        if content := MARK_CONTENT_PATTERN.match(text, position):
            end = content.end()
        mark = ((self._open_mark or "") + text[position:end])[:MOST_MARK_CHARS]
        self._open_mark = mark
        if end == len(text):
            return end
        self._open_mark = None
        if text[end] != MARK_CLOSING:
            return end  # the mark is broken off
        if self._wants_footnotes:
            self._add_footnotes(mark.split(REFERENCE_SEPARATOR), output_pieces)
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
