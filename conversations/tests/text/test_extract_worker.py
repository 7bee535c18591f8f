"""Documents made to do harm become a sentence, soon and in bounded memory."""

import tracemalloc

import pytest

from conversations.tests.text.written_documents import XMLNS, docx, pdf
from conversations.text.extract import UnreadableDocument, extract_document_text


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
