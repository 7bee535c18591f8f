"""A program that reads PDF, Word or HTML from its input and writes UTF-8 text to its output.

    extract_worker.py FORMAT CPU_SECONDS MEMORY_BYTES TEXT_BYTES

`extract.py` runs it, because a hostile document of these formats can take for ever. Its exit status
is 0 with the text; 3 with a sentence for the document's owner on the error output; anything else is
a crash. It limits itself before it reads a byte, and imports nothing of this project. Sources:
ECMA-376 (docx), the HTML standard's elements, pypdf's documentation.
"""

import io
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from xml.etree import ElementTree

STATUS_UNREADABLE = 3
MOST_PAGES = 5_000
SLICE_CHARS = 65_536  # of HTML that is parsed at once
WORD_NAMESPACE = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
PARAGRAPH_TAG = f"{WORD_NAMESPACE}p"
TEXT_TAG = f"{WORD_NAMESPACE}t"
BREAK_CHARACTERS = {
    PARAGRAPH_TAG: "\n",
    f"{WORD_NAMESPACE}tab": "\t",
    f"{WORD_NAMESPACE}br": "\n",
    f"{WORD_NAMESPACE}cr": "\n",
    f"{WORD_NAMESPACE}noBreakHyphen": "-",
}
BODY_PART = "word/document.xml"
NOTES_PARTS = ("word/footnotes.xml", "word/endnotes.xml")
ENTITY_MARKS = (b"<!DOCTYPE", b"<!ENTITY", b"\0")
XML_BYTES_PER_TEXT_BYTE = 32  # at most; Word's formatting takes much room
ZIP_ERRORS = (
    zipfile.BadZipFile,
    KeyError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)
DUPLICATE_TAGS = (  # a copy of a text box for older programs; moved text in its old place
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    f"{WORD_NAMESPACE}moveFrom",
)
HIDDEN_TAGS = frozenset(("script", "style", "head", "template", "noscript", "svg"))
VOID_TAGS = frozenset("area base br col embed hr img input link meta source track wbr".split())
BLOCK_TAGS = frozenset(
    """
    address article aside blockquote br dd div dl dt fieldset figcaption figure footer form h1 h2 h3
    h4 h5 h6 header hr li main nav ol p pre section table tr ul
    """.split()
)


class UnreadableInput(Exception):
    """A document without readable text; the message is a sentence for its owner."""


def read_docx(data: bytes, most_bytes: int) -> Iterator[str]:
    """Yield the text of a Word document: the body, then footnotes and endnotes.

    Paragraphs are in order, tables row by row. Raises UnreadableInput.
    """
    parts = unpack_docx_parts(data, XML_BYTES_PER_TEXT_BYTE * most_bytes)
    for xml in parts:
        # Word writes UTF-8; UTF-16 would hide the others
        if any(mark in xml for mark in ENTITY_MARKS):
            raise UnreadableInput("It is not a Word document (.docx): it declares entities.")
    try:
        for xml in parts:
            yield from read_docx_part(xml)
    except ElementTree.ParseError:
        raise UnreadableInput("It is not a Word document (.docx), or it is damaged.") from None


def unpack_docx_parts(data: bytes, most_bytes: int) -> list[bytes]:
    """Return the XML of the parts with text. Raises UnreadableInput.

    `most_bytes` is the most that all parts may have together.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            notes = [name for name in NOTES_PARTS if name in names]
            parts = [read_zip_entry(archive, name, most_bytes + 1) for name in (BODY_PART, *notes)]
    except ZIP_ERRORS:
        raise UnreadableInput(
            "It is not a Word document (.docx), or it is damaged or encrypted."
        ) from None
    if sum(map(len, parts)) > most_bytes:
        raise UnreadableInput("Unpacked, it is too large.")
    return parts


def read_zip_entry(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    with archive.open(name) as file:
        return file.read(most_bytes)


def read_docx_part(xml: bytes) -> Iterator[str]:
    """Yield the text of one part, without text that it contains twice. Raises ParseError."""
    duplicate_depth = 0
    # the caller refuses a part that declares entities
    events = ElementTree.iterparse(io.BytesIO(xml), ("start", "end"))  # noqa: S314
    for event, element in events:
        if element.tag in DUPLICATE_TAGS:
            duplicate_depth += 1 if event == "start" else -1
        elif event == "end":
            if not duplicate_depth:
                yield read_docx_element(element)
            if element.tag == PARAGRAPH_TAG:
                element.clear()


def read_docx_element(element: ElementTree.Element) -> str:
    """Return the text that stands at the end of an element."""
    if element.tag == TEXT_TAG:
        return element.text or ""
    return BREAK_CHARACTERS.get(element.tag, "")


def read_pdf(data: bytes, most_bytes: int) -> Iterator[str]:
    """Yield the text of a PDF's pages. Raises UnreadableInput."""
    import logging

    import pypdf
    from pypdf.errors import PdfReadError, PyPdfError

    logging.disable()
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableInput("It is encrypted with a password.")
        if len(reader.pages) > MOST_PAGES:
            raise UnreadableInput(f"It has more than {MOST_PAGES} pages.")
        for page in reader.pages:
            yield page.extract_text()
            yield "\n\n"
    except (PdfReadError, PyPdfError):
        raise UnreadableInput("It is not a PDF, or it is damaged.") from None


class VisibleTextParser(HTMLParser):
    """A parser that collects the visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text_pieces: list[str] = []
        self._hidden_tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if self._ends_head(tag):
            self._hidden_tags.clear()
        if tag in HIDDEN_TAGS and tag not in VOID_TAGS:
            self._hidden_tags.append(tag)
        elif tag in BLOCK_TAGS:
            self.text_pieces.append("\n")
        elif tag in ("td", "th"):
            self.text_pieces.append("\t")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden_tags:
            del self._hidden_tags[self._hidden_tags.index(tag) :]
        elif tag in BLOCK_TAGS:
            self.text_pieces.append("\n")

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if words and not self._hidden_tags:
            before = " " if data[0].isspace() else ""
            after = " " if data[-1].isspace() else ""
            self.text_pieces.append(f"{before}{words}{after}")

    def _ends_head(self, tag: str) -> bool:
        """Return whether this tag ends the head, with all elements in it that are not closed."""
        if tag == "body":
            return True
        return self._hidden_tags == ["head"] and tag in BLOCK_TAGS


def read_html(data: bytes, most_bytes: int) -> Iterator[str]:
    """Yield the visible text of a page; `data` is UTF-8."""
    text = data.decode()
    parser = VisibleTextParser()
    for start in range(0, len(text), SLICE_CHARS):
        parser.feed(text[start : start + SLICE_CHARS])
        yield from parser.text_pieces
        parser.text_pieces.clear()
    parser.close()
    yield from parser.text_pieces


FORMATS = {"docx": read_docx, "pdf": read_pdf, "html": read_html}


def set_process_limits(cpu_seconds: int, memory_bytes: int) -> None:
    """Limit the CPU seconds and the memory of this process, and let it write no file.

    The kernel ends a process that takes longer, and refuses more memory.
    """
    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: 0,
    }
    for kind, limit in limits.items():
        # the system has no such limit; the parent process has a time limit of its own
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


def main(format_name: str, cpu_seconds: int, memory_bytes: int, text_bytes: int) -> int:
    """Write the text of a document; return the exit status. `text_bytes` is the most to write."""
    set_process_limits(cpu_seconds, memory_bytes)
    written = 0
    try:
        for piece in FORMATS[format_name](sys.stdin.buffer.read(), text_bytes):
            data = piece.encode("utf-8", "replace")
            written += len(data)
            if written > text_bytes:
                raise UnreadableInput("It has too much text.")
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except UnreadableInput as error:
        sys.stderr.write(str(error))
        return STATUS_UNREADABLE
    except (MemoryError, RecursionError):
        sys.stderr.write("Reading it takes too much memory.")
        return STATUS_UNREADABLE
    except Exception:  # noqa: BLE001 - the document may have been made to break the libraries
        sys.stderr.write("It is damaged, or not what its name says.")
        return STATUS_UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
