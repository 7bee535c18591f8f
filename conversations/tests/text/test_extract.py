"""Documents become text; those made to do harm become a sentence, soon and in bounded memory."""

import io
import os
import tracemalloc
import zipfile
import zlib

import pytest

from conversations.text.extract import UnreadableDocument, detect_file_type, extract_document_text

XMLNS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def docx(body, name="word/document.xml"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, body)
    return packed.getvalue()


def word(*paragraphs):
    runs = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    return docx(f"<w:document {XMLNS}><w:body>{runs}</w:body></w:document>")


def pdf(*pages, **more):
    """A PDF of one text per page, written by hand; `more` replaces a page's whole content
    stream.
    """
    content = [
        more.get("raw") or b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % text.encode("latin-1")
        for text in pages
    ]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * at) for at in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(pages), kids),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for at, stream in enumerate(content):
        own = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 "
            b"R>>>>/Contents %d 0 R>>"
        )
        objects.append(own % (5 + 2 * at))
        packed = zlib.compress(stream)
        head = b"<</Length %d/Filter/FlateDecode>>" % len(packed)
        objects.append(head + b"stream\n" + packed + b"\nendstream")
    out, places = b"%PDF-1.7\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + end


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
        "<w:p><w:r><w:delText>gone</w:delText><w:t>a</w:t><w:br/><w:t>b</w:t></w:r></w:p></w:body></w:document>"
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
        "<w:p><w:moveFrom><w:r><w:t>moved</w:t><w:br/></w:r></w:moveFrom><w:r><w:t>a</w:t></w:r></w:p>"
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
        ("a.exe", b"MZ"),
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


# --- what means harm ------------------------------------------------------------------------------
def zip_bomb():
    return docx(b"<w:t>" + b"x" * 8_000_000 + b"</w:t>")


def laughs():
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return docx(
        f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><w:document '
        f"{XMLNS}><w:t>&e11;</w:t></w:document>"
    )


def swelling():
    return pdf("x", raw=b"(" + b" " * 20_000_000)


def endless():
    return pdf("x", raw=b"BT /F1 12 Tf " + b"(a) Tj 1 0 Td " * 300_000)


def pages(count, kids, end):
    head = (
        b"%%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count "
        b"%d/Kids[%b]>>endobj "
    )
    return head % (count, kids) + end + b"\ntrailer<</Root 1 0 R>>\n%%EOF"


BOMBS = {
    "a zip bomb": ("a.docx", zip_bomb),
    "a billion laughs": ("a.docx", laughs),
    "deep nesting": ("a.docx", lambda: docx(f"<w:document {XMLNS}>" + "<w:p>" * 100_000)),
    "deep markup": ("a.html", lambda: b"<div>" * 100_000),
    "half a tag": ("a.html", lambda: b"<a " + b"x=" * 100_000),
    "a stream that swells": ("a.pdf", swelling),
    "endless operators": ("a.pdf", endless),
    "pages that contain themselves": ("a.pdf", lambda: pages(9, b"2 0 R", b"")),
    "pages without number": (
        "a.pdf",
        lambda: pages(10**7, b"3 0 R " * 50_000, b"3 0 obj<</Type/Page>>endobj"),
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_document_made_to_do_harm_ends_with_a_reason_and_takes_no_memory_here(bomb, settings):
    settings.FILE_TEXT_SECONDS, settings.FILE_TEXT_CHARS = 0.7, 50_000
    name, make = BOMBS[bomb]
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableDocument):
            extract_document_text(name, "", data)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 10_000_000
    finally:
        tracemalloc.stop()


def test_a_process_that_dies_is_an_unreadable_document(monkeypatch, tmp_path):
    for program in ("import os; os.abort()", "raise SystemExit(7)", "import time; time.sleep(60)"):
        script = tmp_path / "extract_worker.py"
        script.write_text(program)
        monkeypatch.setattr("conversations.text.extract.WORKER_PATH", script)
        monkeypatch.setattr("django.conf.settings.FILE_TEXT_SECONDS", 0.3)
        with pytest.raises(UnreadableDocument):
            extract_document_text("a.pdf", "", pdf("x"))


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
