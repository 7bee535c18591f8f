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

UNREADABLE = 3
PAGES = 5_000
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
BREAKS = {f"{WORD}tab": "\t", f"{WORD}br": "\n", f"{WORD}cr": "\n", f"{WORD}noBreakHyphen": "-"}
BODY = "document"
PARTS = (BODY, "footnotes", "endnotes")
TWICE = (  # a copy of a text box for older programs; moved text in its old place
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    f"{WORD}moveFrom",
)
SILENT = frozenset(("script", "style", "head", "template", "noscript", "svg"))
VOID = frozenset(
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
BLOCKS = frozenset(
    """
    address article aside blockquote br dd div dl dt fieldset figcaption figure footer form h1 h2 h3
    h4 h5 h6 header hr li main nav ol p pre section table tr ul
    """.split()
)


class Unreadable(Exception):
    """A document without readable text; the message is a sentence for its owner."""


def docx(data: bytes, most: int) -> Iterator[str]:
    """Yield the text of a Word document: the body, then footnotes and endnotes.

    Paragraphs are in order, tables row by row. Raises Unreadable.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            parts = [
                archive.getinfo(f"word/{part}.xml")
                for part in PARTS
                if part == BODY or f"word/{part}.xml" in names
            ]
            xmls = []
            for part in parts:
                with archive.open(part) as file:
                    xmls.append(file.read(32 * most + 1))
    except (
        zipfile.BadZipFile,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
    ):
        raise Unreadable(
            "It is not a Word document (.docx), or it is damaged or encrypted."
        ) from None
    if sum(map(len, xmls)) > 32 * most:
        raise Unreadable("Unpacked, it is too large.")
    for xml in xmls:
        # Word writes UTF-8; UTF-16 would hide the others
        if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or b"\0" in xml:
            raise Unreadable("It is not a Word document (.docx): it declares entities.")
    try:
        for xml in xmls:
            yield from paragraphs(xml)
    except ElementTree.ParseError:
        raise Unreadable("It is not a Word document (.docx), or it is damaged.") from None


def paragraphs(xml: bytes) -> Iterator[str]:
    """Yield the text of one part, without text that it contains twice. Raises ParseError."""
    twice = 0
    for event, element in ElementTree.iterparse(io.BytesIO(xml), ("start", "end")):  # noqa: S314 - entities are refused
        if element.tag in TWICE:
            twice += 1 if event == "start" else -1
        elif event == "start":
            continue
        elif element.tag == f"{WORD}p":
            if not twice:
                yield "\n"
            element.clear()
        elif not twice:
            if element.tag == f"{WORD}t":
                yield element.text or ""
            elif element.tag in BREAKS:
                yield BREAKS[element.tag]


def pdf(data: bytes, most: int) -> Iterator[str]:
    """Yield the text of a PDF's pages. Raises Unreadable."""
    import logging

    import pypdf
    from pypdf.errors import PdfReadError, PyPdfError

    logging.disable()
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("It is encrypted with a password.")
        if len(reader.pages) > PAGES:
            raise Unreadable(f"It has more than {PAGES} pages.")
        for page in reader.pages:
            yield page.extract_text()
            yield "\n\n"
    except (PdfReadError, PyPdfError):
        raise Unreadable("It is not a PDF, or it is damaged.") from None


class Words(HTMLParser):
    """A parser that collects the visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if self._silent and (tag == "body" or (self._silent == ["head"] and tag in BLOCKS)):
            # elements of the head end with it, even if they are not closed
            self._silent.clear()
        if tag in SILENT and tag not in VOID:
            self._silent.append(tag)
        elif tag in BLOCKS:
            self.words.append("\n")
        elif tag in ("td", "th"):
            self.words.append("\t")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in BLOCKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent and (said := " ".join(data.split())):
            before = " " if data[0].isspace() else ""
            self.words.append(before + said + (" " if data[-1].isspace() else ""))


def html(data: bytes, most: int) -> Iterator[str]:
    """Yield the visible text of a page; `data` is UTF-8."""
    text = data.decode()
    reader = Words()
    for at in range(0, len(text), 65_536):
        reader.feed(text[at : at + 65_536])
        yield from reader.words
        reader.words.clear()
    reader.close()
    yield from reader.words


FORMATS = {"docx": docx, "pdf": pdf, "html": html}


def bound(cpu_seconds: int, memory_bytes: int) -> None:
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


def main(name: str, cpu_seconds: int, memory_bytes: int, text_bytes: int) -> int:
    bound(cpu_seconds, memory_bytes)
    written = 0
    try:
        for piece in FORMATS[name](sys.stdin.buffer.read(), text_bytes):
            data = piece.encode("utf-8", "replace")
            written += len(data)
            if written > text_bytes:
                raise Unreadable("It has too much text.")
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except Unreadable as error:
        sys.stderr.write(str(error))
        return UNREADABLE
    except (MemoryError, RecursionError):
        sys.stderr.write("Reading it takes too much memory.")
        return UNREADABLE
    except Exception:  # noqa: BLE001 - whatever a library does with a document that somebody made to break it
        sys.stderr.write("It is damaged, or not what its name says.")
        return UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
