"""Find in a text which results of searches it cites, as OpenAI's annotations. No I/O.

Results have numbers, in the order in which the model got them. A text cites one as `[2]`, or by a
Markdown link to its address. The text itself is not changed. Source: OpenAI's API reference, "Web
search" and "File search", `annotations`.
"""

import re

from providers.protocol.json_types import JsonObject

MARK = re.compile(
    r"\[[^\[\]\n]{1,200}\]\((?P<url>https?://[^\s()]{1,2000})\)|\[(?P<number>[1-9]\d{0,2})\](?!\()"
)
LONGEST_MARK_CHARS = 2_300
CITE_HINT = "Cite a result by its number in brackets, for example [1], after what it supports."


class CitationSources:
    """The results of all searches of one request."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # by address or id of a file
        self._sources: list[JsonObject] = []

    def add_page(self, url: str, title: str) -> int:
        """Add a web page, and return its number."""
        return self._add(url, {"type": "url_citation", "url": url, "title": title or url})

    def add_file(self, file_id: str, filename: str) -> int:
        """Add a file, and return its number."""
        source = {"type": "file_citation", "file_id": file_id, "filename": filename}
        return self._add(file_id, source)

    def _add(self, key: str, source: JsonObject) -> int:
        """Add a source unless its key is known; return the number of the key."""
        if key not in self._numbers:
            self._sources.append(source)
            self._numbers[key] = len(self._sources)
        return self._numbers[key]

    def find_cited(self, mark: re.Match[str]) -> JsonObject | None:
        """Return the source that a mark cites, or None."""
        number = self._numbers.get(mark["url"]) if mark["url"] else int(mark["number"])
        if number is None or number > len(self._sources):
            return None
        return self._sources[number - 1]

    def __bool__(self) -> bool:
        return bool(self._sources)


class CitationFinder:
    """The state of one text that comes in pieces; positions count from its beginning."""

    def __init__(self, sources: CitationSources) -> None:
        self._sources = sources
        self._tail = ""  # the end of the text, in which a mark may have begun
        self._tail_start = 0

    def read_piece(self, piece: str) -> list[JsonObject]:
        """Return the annotations of the marks that this piece completes."""
        if not self._sources:
            self._tail_start += len(piece)
            return []
        self._tail += piece
        return self._read_tail(is_over=False)

    def finish(self) -> list[JsonObject]:
        """Return the annotation of a mark at the end of the text, and begin a new text."""
        annotations = self._read_tail(is_over=True)
        self._tail = ""
        self._tail_start = 0
        return annotations

    def _read_tail(self, *, is_over: bool) -> list[JsonObject]:
        """Return the annotations of the marks in the tail; keep the begin of an open mark."""
        annotations = []
        end_of_marks = 0
        for mark in MARK.finditer(self._tail):
            if mark.end() == len(self._tail) and mark["number"] and not is_over:
                break  # an address may follow
            source = self._sources.find_cited(mark)
            if source is not None:
                annotations.append(self._make_annotation(source, mark))
            end_of_marks = mark.end()
        opening = self._tail.find("[", max(end_of_marks, len(self._tail) - LONGEST_MARK_CHARS))
        cut = len(self._tail) if opening < 0 else opening
        self._tail_start += cut
        self._tail = self._tail[cut:]
        return annotations

    def _make_annotation(self, source: JsonObject, mark: re.Match[str]) -> JsonObject:
        """Return an annotation in the form of chat completions."""
        kind = source["type"]
        fields = {name: value for name, value in source.items() if name != "type"}
        if kind == "file_citation":
            return {"type": kind, kind: fields | {"index": self._tail_start + mark.end()}}
        span = {
            "start_index": self._tail_start + mark.start(),
            "end_index": self._tail_start + mark.end(),
        }
        return {"type": kind, kind: span | fields}
