"""Extract the text of documents.

Plain formats (txt, md, csv, json, source code …) are decoded here: UTF-8, UTF-16 and UTF-32 with a
byte order mark, else the encoding that charset-normalizer finds for the beginning. PDF, Word and
HTML are read by a process of its own (`extract_worker.py`) with limits on time and memory, because
a hostile document can take for ever.
"""

import codecs
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path, PurePath
from typing import Any

from django.conf import settings

WORKER_PATH = Path(__file__).with_name("extract_worker.py")
MEMORY_BYTES = 1536 * 2**20  # of address space, to read one document
UTF8_BYTES = 4  # of one character, at most
SAMPLE_BYTES = 32_768
LEAST_VALID_PER_ERROR = (
    8  # non-ASCII characters of valid UTF-8 for each error, else it is another encoding
)
NON_ASCII = re.compile("[^\x00-\x7f\ufffd]")
MOST_READ_BYTES = 64 * 2**20  # a larger document is not read
STATUS_UNREADABLE = 3  # of extract_worker.py

PLAIN_TYPES = frozenset(
    """
    txt text md markdown rst adoc csv tsv json jsonl ndjson yaml yml toml ini cfg conf env log xml
    svg tex bib srt vtt sql graphql proto py pyi ipynb js mjs cjs jsx ts tsx vue svelte css scss
    less java kt kts scala groovy c h cc cpp cxx hpp hh cs go rs rb php pl pm lua r jl swift m mm
    dart ex exs erl hs clj lisp el vim sh bash zsh fish ps1 bat cmd dockerfile makefile cmake gradle
    diff patch po asm s v vhd sol tf nix
    """.split()
)
WORKER_FORMATS = {"pdf": "pdf", "docx": "docx", "html": "html", "htm": "html", "xhtml": "html"}
IMAGE_TYPES = frozenset(("png", "jpg", "jpeg", "webp", "gif"))
TYPE_BY_MEDIA_TYPE = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/html": "html",
    "application/json": "json",
    "text/csv": "csv",
    "text/markdown": "md",
    "text/plain": "txt",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "image/gif": "gif",
}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class UnreadableDocument(Exception):
    """A document without readable text; the message is a sentence for the sender."""


def detect_file_type(filename: str, content_type: str = "") -> str | None:
    """Return the type of a file by its name, else by its declared type.

    It is an entry of PLAIN, PARSED or IMAGES, or None when such files are not accepted.
    """
    path = PurePath(filename.lower())
    ending = path.suffix[1:] or path.stem.lstrip(".")
    if ending in PLAIN_TYPES or ending in WORKER_FORMATS or ending in IMAGE_TYPES:
        return ending
    declared = content_type.partition(";")[0].strip().lower()
    if path.suffix:
        return None
    return TYPE_BY_MEDIA_TYPE.get(declared) or ("txt" if declared.startswith("text/") else None)


def extract_document_text(filename: str, content_type: str, document: bytes | Path) -> str:
    """Return the text of a document or of the file that holds it, at most FILE_TEXT_CHARS.

    Takes up to FILE_TEXT_SECONDS: run it in a thread. Raises Unreadable.
    """
    what = detect_file_type(filename, content_type)
    if what is None:
        raise UnreadableDocument("Files of this type cannot be read.")
    if what in IMAGE_TYPES:
        raise UnreadableDocument("It is an image: it has no text.")
    require_readable_size(
        document.stat().st_size if isinstance(document, Path) else len(document),
        is_plain=what in PLAIN_TYPES,
    )
    form = WORKER_FORMATS.get(what)
    text = (
        run_extract_worker(form, document)
        if form
        else decode_plain_text(read_document_bytes(document))
    )
    if len(text) > settings.FILE_TEXT_CHARS:
        raise UnreadableDocument(f"It has more than {settings.FILE_TEXT_CHARS} characters of text.")
    if not text.strip():
        raise UnreadableDocument("There is no text in it.")
    return text


def require_readable_size(size_bytes: int, *, is_plain: bool) -> None:
    """Raise Unreadable for a document whose size alone makes it unreadable."""
    if not size_bytes:
        raise UnreadableDocument("It is empty.")
    if is_plain and size_bytes > UTF8_BYTES * settings.FILE_TEXT_CHARS:
        raise UnreadableDocument(f"It has more than {settings.FILE_TEXT_CHARS} characters of text.")
    if size_bytes > MOST_READ_BYTES:
        raise UnreadableDocument("It is too large to be read.")


def read_document_bytes(document: bytes | Path) -> bytes:
    return document.read_bytes() if isinstance(document, Path) else document


def decode_plain_text(data: bytes) -> str:
    """Decode the bytes of a plain text. Raises Unreadable."""
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    try:
        text = data.decode(marked or "utf-8")
    except UnicodeDecodeError:
        text = decode_guessed_encoding(data) if marked is None and b"\0" not in data else "\0"
    if "\0" in text:
        raise UnreadableDocument("It is not text, whatever its name says.")
    return text


def decode_guessed_encoding(data: bytes) -> str:
    """Decode UTF-8 with a few errors, or an older encoding that the beginning suggests.

    Raises Unreadable.
    """
    from charset_normalizer import from_bytes

    text = data.decode("utf-8", "replace")
    mistakes = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    if len(NON_ASCII.findall(text)) >= LEAST_VALID_PER_ERROR * mistakes:
        return text
    sample = data[:SAMPLE_BYTES]
    if len(data) > SAMPLE_BYTES and (line := sample.rfind(b"\n") + 1) > SAMPLE_BYTES // 2:
        sample = sample[:line]
    found = ""
    # the sample may end within a character
    for cut in range(UTF8_BYTES if len(sample) == SAMPLE_BYTES else 1):
        best = from_bytes(sample[: len(sample) - cut]).best()
        if best is not None:
            said = data.decode(best.encoding, "replace")
            if "\ufffd" not in said:
                return said
            found = found or said
    if not found:
        raise UnreadableDocument("It is not text in any encoding that is known here.")
    return found


def run_extract_worker(document_format: str, document: bytes | Path) -> str:
    """Run extract_worker.py on the document and return its text. Raises Unreadable."""
    seconds = settings.FILE_TEXT_SECONDS
    if document_format == "html":
        document = decode_plain_text(read_document_bytes(document)).encode()
    limits = (max(1, round(seconds)), MEMORY_BYTES, UTF8_BYTES * settings.FILE_TEXT_CHARS)
    command = [sys.executable, "-I", "-B", str(WORKER_PATH), document_format, *map(str, limits)]
    try:
        with document.open("rb") if isinstance(document, Path) else nullcontext() as file:
            given: dict[str, Any] = {"stdin": file} if file is not None else {"input": document}
            done = subprocess.run(command, **given, capture_output=True, timeout=seconds, env={})  # noqa: S603
    except subprocess.TimeoutExpired:
        raise UnreadableDocument(f"Reading it takes longer than {seconds:g} seconds.") from None
    if done.returncode == STATUS_UNREADABLE:
        raise UnreadableDocument(done.stderr.decode(errors="replace")[:200])
    if done.returncode < 0:
        raise UnreadableDocument("Reading it takes too much time or memory.")
    if done.returncode:
        raise UnreadableDocument("It cannot be read.")
    text: str = done.stdout.decode()
    return text.replace("\0", "")
