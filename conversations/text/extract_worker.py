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
WORD_NAMESPACE = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
BREAK_CHARACTERS = {
    f"{WORD_NAMESPACE}tab": "\t",
    f"{WORD_NAMESPACE}br": "\n",
    f"{WORD_NAMESPACE}cr": "\n",
    f"{WORD_NAMESPACE}noBreakHyphen": "-",
}
BODY_PART = "document"
TEXT_PARTS = (BODY_PART, "footnotes", "endnotes")
DUPLICATE_TAGS = (  # a copy of a text box for older programs; moved text in its old place
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    f"{WORD_NAMESPACE}moveFrom",
)
HIDDEN_TAGS = frozenset(("script", "style", "head", "template", "noscript", "svg"))
VOID_TAGS = frozenset(
    (
        "br",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "area",
        "base",
        "col",
        "embed",
        "source",
        "track",
        "wbr",
    )
)
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

    Paragraphs are in order, tables row by row. Raises Unreadable.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            parts = [
                archive.getinfo(f"word/{part}.xml")
                for part in TEXT_PARTS
                if part == BODY_PART or f"word/{part}.xml" in names
            ]
            xmls = []
            for part in parts:
                with archive.open(part) as file:
                    xmls.append(file.read(32 * most_bytes + 1))
    except (
        zipfile.BadZipFile,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
    ):
        raise UnreadableInput(
            "It is not a Word document (.docx), or it is damaged or encrypted."
        ) from None
    if sum(map(len, xmls)) > 32 * most_bytes:
        raise UnreadableInput("Unpacked, it is too large.")
    for xml in xmls:
        # Word writes UTF-8; UTF-16 would hide the others
        if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or b"\0" in xml:
            raise UnreadableInput("It is not a Word document (.docx): it declares entities.")
    try:
        for xml in xmls:
            yield from read_docx_part(xml)
    except ElementTree.ParseError:
        raise UnreadableInput("It is not a Word document (.docx), or it is damaged.") from None


def read_docx_part(xml: bytes) -> Iterator[str]:
    """Yield the text of one part, without text that it contains twice. Raises ParseError."""
    twice = 0
    for event, element in ElementTree.iterparse(io.BytesIO(xml), ("start", "end")):  # noqa: S314 - entities are refused
        if element.tag in DUPLICATE_TAGS:
            twice += 1 if event == "start" else -1
        elif event == "start":
            continue
        elif element.tag == f"{WORD_NAMESPACE}p":
            if not twice:
                yield "\n"
            element.clear()
        elif not twice:
            if element.tag == f"{WORD_NAMESPACE}t":
                yield element.text or ""
            elif element.tag in BREAK_CHARACTERS:
                yield BREAK_CHARACTERS[element.tag]


def read_pdf(data: bytes, most_bytes: int) -> Iterator[str]:
    """Yield the text of a PDF's pages. Raises Unreadable."""
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
        if self._hidden_tags and (
            tag == "body" or (self._hidden_tags == ["head"] and tag in BLOCK_TAGS)
        ):
            # elements of the head end with it, even if they are not closed
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
        if not self._hidden_tags and (said := " ".join(data.split())):
            before = " " if data[0].isspace() else ""
            self.text_pieces.append(before + said + (" " if data[-1].isspace() else ""))


def read_html(data: bytes, most_bytes: int) -> Iterator[str]:
    """Yield the visible text of a page; `data` is UTF-8."""
    text = data.decode()
    reader = VisibleTextParser()
    for at in range(0, len(text), 65_536):
        reader.feed(text[at : at + 65_536])
        yield from reader.text_pieces
        reader.text_pieces.clear()
    reader.close()
    yield from reader.text_pieces


FORMATS = {"docx": read_docx, "pdf": read_pdf, "html": read_html}


def set_process_limits(cpu_seconds: int, memory_bytes: int) -> None:
    """Limit the CPU seconds and the memory of this process, and let it write no file.

    The kernel ends a process that takes longer, and refuses more memory.
    """
    for what, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
    ):
        # the system has no such limit; the parent process has a time limit of its own
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def main(format_name: str, cpu_seconds: int, memory_bytes: int, text_bytes: int) -> int:
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
    except Exception:  # noqa: BLE001 - whatever a library does with a document that somebody made to break it
        sys.stderr.write("It is damaged, or not what its name says.")
        return STATUS_UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
