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
from pathlib import Path, PurePath

from django.conf import settings

from conversations.text.east_asian import guess_east_asian

WORKER_PATH = Path(__file__).with_name("extract_worker.py")
MEMORY_BYTES = 1536 * 2**20  # of address space, to read one document
UTF8_BYTES = 4  # of one character, at most
SAMPLE_BYTES = 32_768
# non-ASCII characters of valid UTF-8 for each error, else it is another encoding
LEAST_VALID_PER_ERROR = 8
NON_ASCII = re.compile("[^\x00-\x7f\ufffd]")
MOST_READ_BYTES = 64 * 2**20  # a larger document is not read
STATUS_UNREADABLE = 3  # of extract_worker.py
NOT_TEXT = "It is not text, whatever its name says."

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
    "application/msword": "doc",
}
# codecs of Python that charset-normalizer confuses in short texts
EAST_ASIAN_ENCODINGS = frozenset(
    """
    gb2312 gbk gb18030 hz big5 big5hkscs cp950 euc_jp euc_jis_2004 euc_jisx0213 shift_jis
    shift_jis_2004 shift_jisx0213 cp932 euc_kr cp949 johab
    """.split()
)
# stored, and cannot be read as documents: type -> the name that people know
UNREADABLE_TYPES = {"doc": "a Word document of before 2007 (.doc)"}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


ACCEPTED_TYPES = (PLAIN_TYPES, WORKER_FORMATS, IMAGE_TYPES, UNREADABLE_TYPES)


class UnreadableDocument(Exception):
    """A document without readable text; the message is a sentence for the sender."""


def detect_file_type(filename: str, content_type: str = "") -> str | None:
    """Return the type of a file by its name, else by its declared type.

    It is an entry of one of ACCEPTED_TYPES, or None when such files are not accepted.
    """
    path = PurePath(filename.lower())
    ending = path.suffix[1:] or path.stem.lstrip(".")
    if any(ending in types for types in ACCEPTED_TYPES):
        return ending
    if path.suffix:
        return None
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("text/"):
        return TYPE_BY_MEDIA_TYPE.get(media_type, "txt")
    return TYPE_BY_MEDIA_TYPE.get(media_type)


def extract_document_text(filename: str, content_type: str, document: bytes | Path) -> str:
    """Return the text of a document or of the file that holds it, at most FILE_TEXT_CHARS.

    Takes up to FILE_TEXT_SECONDS: run it in a thread. Raises UnreadableDocument.
    """
    file_type = detect_file_type(filename, content_type)
    if file_type is None:
        raise UnreadableDocument("Files of this type cannot be read.")
    if file_type in UNREADABLE_TYPES:
        name = UNREADABLE_TYPES[file_type]
        raise UnreadableDocument(
            f"It is {name}, which cannot be read here: save it as .docx or PDF."
        )
    if file_type in IMAGE_TYPES:
        raise UnreadableDocument("It is an image: it has no text.")
    require_readable_size(measure_document(document), is_plain=file_type in PLAIN_TYPES)
    if file_type in WORKER_FORMATS:
        text = run_extract_worker(WORKER_FORMATS[file_type], document)
    else:
        text = decode_plain_text(read_document_bytes(document))
    if len(text) > settings.FILE_TEXT_CHARS:
        raise UnreadableDocument(f"It has more than {settings.FILE_TEXT_CHARS} characters of text.")
    if not text.strip():
        raise UnreadableDocument("There is no text in it.")
    return text


def require_readable_size(size_bytes: int, *, is_plain: bool) -> None:
    """Raise UnreadableDocument for a document whose size alone makes it unreadable."""
    if not size_bytes:
        raise UnreadableDocument("It is empty.")
    if is_plain and size_bytes > UTF8_BYTES * settings.FILE_TEXT_CHARS:
        raise UnreadableDocument(f"It has more than {settings.FILE_TEXT_CHARS} characters of text.")
    if size_bytes > MOST_READ_BYTES:
        raise UnreadableDocument("It is too large to be read.")


def measure_document(document: bytes | Path) -> int:
    """Return the size of a document in bytes."""
    return document.stat().st_size if isinstance(document, Path) else len(document)


def read_document_bytes(document: bytes | Path) -> bytes:
    return document.read_bytes() if isinstance(document, Path) else document


def decode_plain_text(data: bytes) -> str:
    """Decode the bytes of a plain text. Raises UnreadableDocument."""
    marked = [name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)]
    encoding = marked[0] if marked else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if marked or b"\0" in data:
            raise UnreadableDocument(NOT_TEXT) from None
        text = decode_guessed_encoding(data)
    if "\0" in text:
        raise UnreadableDocument(NOT_TEXT)
    return text


def decode_guessed_encoding(data: bytes) -> str:
    """Decode UTF-8 with a few errors, or an older encoding that the beginning suggests.

    Raises UnreadableDocument.
    """
    from charset_normalizer import from_bytes

    text = data.decode("utf-8", "replace")
    error_count = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    if len(NON_ASCII.findall(text)) >= LEAST_VALID_PER_ERROR * error_count:
        return text
    if encoding := guess_east_asian(data, must_be_certain=True):
        return data.decode(encoding, "replace")
    first_guess = ""
    for sample in cut_samples(data):
        match = from_bytes(sample).best()
        if match is None:
            continue
        encoding = match.encoding
        if encoding in EAST_ASIAN_ENCODINGS:
            encoding = guess_east_asian(data, must_be_certain=False) or encoding
        guess = data.decode(encoding, "replace")
        if "\ufffd" not in guess:
            return guess
        first_guess = first_guess or guess
    if not first_guess:
        raise UnreadableDocument("It is not text in any encoding that is known here.")
    return first_guess


def cut_samples(data: bytes) -> list[bytes]:
    """Return the beginning of the data, by which its encoding is guessed.

    It ends with a line. When there is no line's end near, there are several samples, because each
    may end within a character.
    """
    if len(data) < SAMPLE_BYTES:
        return [data]
    line_end = data.rfind(b"\n", 0, SAMPLE_BYTES) + 1
    if len(data) > SAMPLE_BYTES and SAMPLE_BYTES // 2 < line_end < SAMPLE_BYTES:
        return [data[:line_end]]
    return [data[: SAMPLE_BYTES - cut] for cut in range(UTF8_BYTES)]


def run_extract_worker(document_format: str, document: bytes | Path) -> str:
    """Run extract_worker.py on the document and return its text. Raises UnreadableDocument."""
    seconds = settings.FILE_TEXT_SECONDS
    if document_format == "html":
        document = decode_plain_text(read_document_bytes(document)).encode()
    limits = (max(1, round(seconds)), MEMORY_BYTES, UTF8_BYTES * settings.FILE_TEXT_CHARS)
    command = [sys.executable, "-I", "-B", str(WORKER_PATH), document_format, *map(str, limits)]
    try:
        if isinstance(document, Path):
            with document.open("rb") as file:
                done = subprocess.run(  # noqa: S603
                    command, stdin=file, capture_output=True, timeout=seconds, env={}, check=False
                )
        else:
            done = subprocess.run(  # noqa: S603
                command, input=document, capture_output=True, timeout=seconds, env={}, check=False
            )
    except subprocess.TimeoutExpired:
        raise UnreadableDocument(f"Reading it takes longer than {seconds:g} seconds.") from None
    if done.returncode == STATUS_UNREADABLE:
        raise UnreadableDocument(done.stderr.decode(errors="replace")[:200])
    if done.returncode < 0:
        raise UnreadableDocument("Reading it takes too much time or memory.")
    if done.returncode:
        raise UnreadableDocument("It cannot be read.")
    return done.stdout.decode().replace("\0", "")
