"""Decode the bytes of a text file into lines, whatever program wrote it.

Supported are UTF-8, UTF-16 and UTF-32 with a byte order mark, UTF-16 without one, and, for each
line that is not UTF-8, GB18030 (which includes GBK) or Latin-1. One unreadable line spoils no other
line. A file that is not text (an archive, a picture, a program) is refused as a whole: parts of it
would look like tokens.
"""

import re

BYTE_ORDER_MARKS = [
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
]
BINARY_FORMATS = [
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"%PDF-", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x1f\x8b", "a compressed file"),
    (b"BZh", "a compressed file"),
    (b"\xfd7zXZ", "a compressed file"),
    (b"\x28\xb5\x2f\xfd", "a compressed file"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\0", "a database"),
]
SAMPLE_BYTES = 64 * 2**10
CONTROL_BYTES = bytes(sorted(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b")))
MAX_CONTROL_SHARE = 0.08  # a text has a smaller share; compressed data has about a tenth
MIN_CONTROL_COUNT = 4
LINE_ENDS = re.compile(r"\r\n|\r|\n")
HIGH_BYTES = re.compile(rb"[\x80-\xff]+")


class UnreadableFile(Exception):
    """The bytes are not text."""


def decode_text_file(data: bytes) -> list[str]:
    """Return the file's lines, without their ends. Raises UnreadableFile if it is not text."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark) and encoding != "utf-8":
            return split_lines(data[len(mark) :].decode(encoding, "replace"))
    data = data.removeprefix(b"\xef\xbb\xbf")
    if encoding := guess_utf16(data):
        return split_lines(data.decode(encoding, "replace"))
    refuse_binary(data)
    try:
        return split_lines(data.decode())
    except UnicodeDecodeError:
        return decode_lines(data)


def split_lines(text: str) -> list[str]:
    """Split a text into its lines, without a byte order mark."""
    return drop_empty_end(LINE_ENDS.split(text.removeprefix("\ufeff")))


def drop_empty_end(lines: list[str]) -> list[str]:
    """Return the lines without an empty last one: the end of a line begins no further line."""
    if lines[-1]:
        return lines
    return lines[:-1]


def guess_utf16(data: bytes) -> str:
    """Return the encoding of UTF-16 without a mark, or an empty string if it is not UTF-16.

    The byte order follows from the place of the zero bytes of ASCII characters.
    """
    sample = data[:SAMPLE_BYTES]
    even_zeros = sample[::2].count(0)
    odd_zeros = sample[1::2].count(0)
    fewest_zeros = max(len(sample) // 4, 1)  # at least every second character is ASCII
    fewer, more = sorted((even_zeros, odd_zeros))
    if more <= fewest_zeros or fewer > more // 8:
        return ""
    return "utf-16-be" if even_zeros > odd_zeros else "utf-16-le"


def refuse_binary(data: bytes) -> None:
    """Raise UnreadableFile on a known file format or on too many control characters."""
    for beginning, name in BINARY_FORMATS:
        if data.startswith(beginning):
            raise UnreadableFile(f"The file is no text but {name}.")
    sample = data[:SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, CONTROL_BYTES))
    if controls >= MIN_CONTROL_COUNT and controls > MAX_CONTROL_SHARE * len(sample):
        raise UnreadableFile("The file is no text.")


def decode_lines(data: bytes) -> list[str]:
    """Decode line by line: as UTF-8 where possible, else in the one other encoding of the file.

    The other encoding is guessed from all lines that are not UTF-8.
    """
    lines = re.split(rb"\r\n|\r|\n", data)
    other_lines = b"\n".join(line for line in lines if not is_utf8(line))
    encoding = "latin-1"
    if is_gb18030(other_lines):
        encoding = "gb18030"
    return drop_empty_end([decode_line(line, encoding) for line in lines])


def decode_line(line: bytes, other_encoding: str) -> str:
    for encoding in ("utf-8", other_encoding):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    return line.decode("latin-1")  # accepts every byte


def is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_gb18030(data: bytes) -> bool:
    """Return whether most high bytes come in runs, as in Chinese.

    In European words they stand alone between letters.
    """
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    runs = [len(run) for run in HIGH_BYTES.findall(data)]
    return 2 * sum(length >= 2 for length in runs) > len(runs)
