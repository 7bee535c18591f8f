"""Documents become text, or a sentence that says why there is none."""

import io
import os
import tracemalloc
import zipfile

import pytest

from conversations.tests.text.written_documents import XMLNS, docx, pdf, word
from conversations.text.extract import UnreadableDocument, detect_file_type, extract_document_text


# --- what is read ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["a.txt", "A.MD", "a.csv", "a.json", "main.py", "Makefile", ".gitignore.txt", "x.log"]
)
def test_plain_text_is_taken_as_it_is(name):
    assert extract_document_text(name, "", "Grüße, 世界 🙂\r\n".encode()) == "Grüße, 世界 🙂\r\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252", "gb18030", "shift_jis"]
)
def test_text_in_older_encodings_is_understood(encoding):
    text = {
        "cp1252": "Die Größe der Straße überraschte alle Gäste, außer den Köchen.",
        "gb18030": "你好世界。这是一个用来测试的文件。里面有很多汉字。",
        "shift_jis": "これは試験のための文章です。日本語で書かれています。",
    }.get(encoding, "Grüße, 世界")
    assert extract_document_text("a.txt", "", text.encode(encoding)) == text


def test_a_word_document_is_its_paragraphs():
    body = (
        f"<w:document {XMLNS}><w:body><w:p><w:r><w:t>One</w:t><w:tab/><w:t>two &amp; "
        "三</w:t></w:r></w:p>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
        "<w:p><w:r><w:delText>gone</w:delText><w:t>a</w:t><w:br/><w:t>b</w:t></w:r></w:p>"
        "</w:body></w:document>"
    )
    assert extract_document_text("a.docx", "", docx(body)) == "One\ttwo & 三\ncell\na\nb\n"


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("bad", [b"\xff", b"\xe4\xbd", b"\x80\xff"])
def test_utf8_with_a_few_mistakes_is_utf8(shift, bad):
    text = "x" * shift + "你好世界。这是一个用来测试的文件。" * 4_000
    assert extract_document_text("a.txt", "", text.encode() + bad).rstrip("\ufffd") == text
    assert (
        extract_document_text("a.txt", "", text.encode()[:30_000] + bad + text.encode()).count("世")
        > 4_000
    )
    french = "Où est l'été à prose. " * 3_000
    assert extract_document_text("a.txt", "", french.encode() + b"\xe9").startswith(french)


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("gap", ["", "\n"])
def test_an_older_encoding_is_understood_wherever_the_sample_ends(shift, gap):
    text = "x" * shift + ("你好世界。这是一个用来测试的文件。里面有很多汉字。" + gap) * 2_000
    assert extract_document_text("a.txt", "", text.encode("gb18030")) == text


def test_a_word_document_says_everything_once_and_its_notes_at_the_end():
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    box = "<w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent>"
    body = (
        f"<w:document {XMLNS} {mc}><w:body><w:p><w:r><w:t>One</w:t></w:r><w:r>"
        f"<mc:AlternateContent><mc:Choice>{box}"
        f"</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
        "<w:p><w:moveFrom><w:r><w:t>moved</w:t><w:br/></w:r></w:moveFrom>"
        "<w:r><w:t>a</w:t></w:r></w:p>"
        "<w:p><w:moveTo><w:r><w:t>moved</w:t></w:r></w:moveTo></w:p></w:body></w:document>"
    )
    notes = (
        f"<w:{{0}}s {XMLNS}><w:{{0}}><w:p><w:r><w:t>A {{0}}.</w:t></w:r></w:p></w:{{0}}></w:{{0}}s>"
    )
    packed = io.BytesIO(docx(body))
    with zipfile.ZipFile(packed, "a") as archive:
        for name in ("footnote", "endnote"):
            archive.writestr(f"word/{name}s.xml", notes.format(name))
    assert extract_document_text("a.docx", "", packed.getvalue()).split("\n") == [
        *("Onebox", "", "a", "moved", "A footnote.", "A endnote.", "")
    ]


def test_a_pdf_is_its_pages():
    text = extract_document_text("a.pdf", "", pdf("The answer", "is 42"))
    assert text.split() == ["The", "answer", "is", "42"]


def test_a_page_is_what_one_can_see_of_it():
    page = (
        "<html><head><title>t</title><style>p{}</style></head><body><h1>Grüße</h1><p>one "
        "<b>two</b>&nbsp;&lt;3</p>"
        "<script>evil()</script><ul><li>a<li>b</ul></body></html>"
    )
    assert extract_document_text("a.html", "", page.encode()).split() == [
        "Grüße",
        "one",
        "two",
        "<3",
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    "page",
    [
        "<!doctype html><html><head><title>t</title><body><p>Hello",
        "<head><title>t</title><p>Hello</p>",
        "<head><style>p{}</style><noscript><style>b{}</style><body><div>Hello</div></body>",
        "<head><template><p>not yet</p></template></head>Hello",
        "<head><meta charset=utf-8><body>Hello",
    ],
)
def test_a_head_ends_where_the_body_begins(page):
    assert extract_document_text("a.html", "", page.encode()).split() == ["Hello"]


def test_a_file_is_what_its_name_says_and_else_what_its_type_says():
    assert detect_file_type("a.PDF", "text/plain") == "pdf"
    assert detect_file_type("a", "application/pdf") == "pdf"
    assert detect_file_type("a", "text/x-anything; charset=utf-8") == "txt"
    assert detect_file_type("Dockerfile") == "dockerfile"
    for name, declared in (
        ("a.exe", "text/plain"),
        ("a", ""),
        ("a", "application/zip"),
        ("", ""),
        ("a.", "x/y"),
    ):
        assert detect_file_type(name, declared) is None, name


# --- what is not ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["noending", "notes.of-mine", "a.weights", ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_text_is_known_by_its_content_whatever_its_name(name, encoding):
    assert extract_document_text(name, "x/y", "Grüße aus Graz".encode(encoding)) == "Grüße aus Graz"


def test_a_pdf_is_known_by_its_content_whatever_its_name():
    text = extract_document_text("scan", "application/octet-stream", pdf("Hello"))
    assert text.strip() == "Hello"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b""),
        ("a.txt", b" \n\t "),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0\0"),
        ("a.txt", b"\xff\xfe\x00"),
        ("a.pdf", b"not a pdf at all"),
        ("a.pdf", b"%PDF-1.7\n%%EOF"),
        ("a.pdf", pdf("x")[:-200]),
        ("a.pdf", b"%PDF-1.7\n" + b"\0" * 10_000),
        ("a.pdf", word("x")),
        ("a.pdf", pdf("", "")),
        ("a.docx", b"not a zip"),
        ("a.docx", pdf("x")),
        ("a.docx", docx("x", name="other.xml")),
        ("a.docx", docx("<broken")),
        ("a.docx", word()),
        ("a.docx", word("x")[:-30]),
        ("a.html", b"<script>x</script>"),
        ("a.html", b"\0\1"),
        ("a.png", b"\x89PNG"),
        ("a.exe", b"MZ\0\0"),
        ("a.txt.gz", b"\x1f\x8b\x08\x00"),
        ("noending", bytes(range(256))),
    ],
)
def test_what_has_no_text_says_why(name, data):
    with pytest.raises(UnreadableDocument) as caught:
        extract_document_text(name, "", data)
    assert str(caught.value)[0].isupper()
    assert str(caught.value).endswith(".")


def test_a_pdf_that_needs_a_password_says_so():
    from pypdf import PdfWriter

    writer, out = PdfWriter(), io.BytesIO()
    writer.add_blank_page(72, 72)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(out)
    with pytest.raises(UnreadableDocument, match="password"):
        extract_document_text("a.pdf", "", out.getvalue())


def test_text_beyond_the_limit_is_refused_and_not_cut(settings):
    settings.FILE_TEXT_CHARS = 1_000
    for name, data in (
        ("a.txt", b"x" * 1_001),
        ("a.txt", b"x" * 10_000),
        ("a.docx", word("x" * 1_001)),
        ("a.html", b"<p>" + b"x" * 1_001),
        ("a.pdf", pdf(*["word " * 50] * 10)),
    ):
        with pytest.raises(UnreadableDocument, match=r"text"):
            extract_document_text(name, "", data)
    assert len(extract_document_text("a.txt", "", b"x" * 1_000)) == 1_000


def test_a_document_is_read_from_a_file_as_well(tmp_path):
    for name, data in (
        ("a.txt", b"one"),
        ("a.pdf", pdf("one")),
        ("a.docx", word("one")),
        ("a.html", b"<p>one"),
    ):
        path = tmp_path / "document"
        path.write_bytes(data)
        assert extract_document_text(name, "", path).strip() == "one"


def test_a_file_that_is_too_large_is_not_even_opened(tmp_path, settings):
    path = tmp_path / "document"
    path.touch()
    for name, size in (
        ("a.txt", 4 * settings.FILE_TEXT_CHARS + 1),
        ("a.pdf", 2**30),
        ("a.html", 2**30),
    ):
        os.truncate(path, size)
        tracemalloc.start()
        try:
            with pytest.raises(UnreadableDocument):
                extract_document_text(name, "", path)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
