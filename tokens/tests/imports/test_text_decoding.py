"""The bytes of a file become lines, whatever program wrote it, and what is no text is refused."""

import gzip
import io
import random
import zipfile

import pytest

from tokens.imports.text_decoding import UnreadableFile, decode_text_file, split_lines

LINES = ["sk-one", "# two", "", "sk-three"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "latin-1"],
)
def test_text_is_read_in_every_encoding_and_with_every_line_end(encoding, end):
    assert decode_text_file(end.join(LINES).encode(encoding)) == LINES
    assert decode_text_file((end.join(LINES) + end).encode(encoding)) == LINES, (
        "the end of the last line begins none"
    )


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gbk", "我的密钥 来自六月"),
        ("gb18030", "账号 甲乙丙丁"),
        ("latin-1", "für Jürgen, déjà vu"),
        ("utf-8", "für 六月"),
        ("utf-16-le", "für 六月"),
        ("utf-16-be", "für 六月"),
    ],
)
def test_words_beside_the_tokens_are_read_too(encoding, words):
    lines = [
        f"# {words}",
        "sk-made-up-0000000001",
        f"june@example.org:{words}",
        "sk-made-up-0000000002",
    ]
    assert decode_text_file("\n".join(lines).encode(encoding)) == lines


@pytest.mark.parametrize("line", [b"\xff\xfe\xfd", b"caf\xe9", b"\xc3", b"a\x81"], ids=repr)
def test_a_line_that_is_no_utf8_spoils_no_other_line(line):
    found = decode_text_file("sk-öne\n".encode() + line + "\nsk-thrée\n".encode())
    assert (found[0], found[2], len(found)) == ("sk-öne", "sk-thrée", 3)


def test_half_a_character_at_the_end_of_utf16_spoils_only_its_line():
    assert decode_text_file("\ufeffsk-one\nsk-two".encode("utf-16-le") + b"x")[0] == "sk-one"


def test_mixed_line_ends_are_line_ends_and_separators_of_unicode_are_not():
    assert decode_text_file("a\r\nb\rc\n\nd\u2028e\u0085f\x0b".encode()) == [
        "a",
        "b",
        "c",
        "",
        "d\u2028e\u0085f\x0b",
    ]


@pytest.mark.parametrize("text", ["", "\ufeff"])
def test_nothing_has_no_lines(text):
    assert split_lines(text) == decode_text_file(text.encode()) == []


def test_a_few_nul_bytes_make_no_other_encoding_of_a_text():
    assert decode_text_file(b"sk-one\0\n\0\nsk-two\n") == ["sk-one\0", "\0", "sk-two"]


def spreadsheet():
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        archive.writestr("sheet1.xml", "sk-one\nsk-two\n")
    return found.getvalue()


BINARY = {
    "a picture": b"\x89PNG\r\n\x1a\n\xff\xd8IHDR\n",
    "a spreadsheet": spreadsheet(),
    "a compressed file": gzip.compress(b"sk-one\n"),
    "noise": random.Random(1).randbytes(4_000),
    "a program": b"\x7fELF\x02\x01\x01" + bytes(60),
    "a PDF": b"%PDF-1.7\nendobj\n",
    "counters": bytes(range(64)) * 9,
}


@pytest.mark.parametrize("data", BINARY.values(), ids=BINARY)
def test_what_is_no_text_is_refused(data):
    with pytest.raises(UnreadableFile, match="is no text"):
        decode_text_file(data)
