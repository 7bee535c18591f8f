"""`ingest_document`: a file into a user's documents, one clear line when that cannot be."""

import io
from types import SimpleNamespace
from zipfile import ZipFile

import pytest
from django.core.management import CommandError, call_command

from conversations.models import Document, StoredFile

pytestmark = pytest.mark.usefixtures("transactional_db")
TEXT = "".join(f"Verse {n} of the song.\n\n" for n in range(100))


def docx(text):
    data = io.BytesIO()
    body = f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    with ZipFile(data, "w") as archive:
        xml = f'<w:document xmlns:w="{space}"><w:body>{body}</w:body></w:document>'
        archive.writestr("word/document.xml", xml)
    return data.getvalue()


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.md"
    path.write_text(TEXT)
    return str(path)


def run(*arguments, **options):
    out = io.StringIO()
    call_command("ingest_document", *arguments, stdout=out, **options)
    return out.getvalue()


def test_a_file_becomes_a_users_document(alice, song):
    said = run("alice", song, title="The Song")
    row = Document.objects.get()
    assert (row.user, row.title, row.state, row.chars) == (
        alice.user,
        "The Song",
        "ingested",
        len(TEXT),
    )
    assert row.pk in said
    assert row.file_id in said
    assert row.file.filename == "song.md"


@pytest.mark.parametrize(
    ("data", "name"), [(TEXT.encode(), "document.txt"), (docx("A verse."), "document.docx")]
)
def test_a_document_may_come_by_standard_input(alice, monkeypatch, data, name):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    run("alice", "-")
    row = Document.objects.get()
    assert (row.file.filename, row.state) == (name, "ingested")


def test_a_dry_run_reports_and_writes_nothing(alice, song):
    said = run("alice", song, dry_run=True)
    assert f"{len(TEXT)} characters in " in said
    assert "Nothing was written" in said
    assert not StoredFile.objects.exists()


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.exe", b"MZ\x90\x00\x03\x00\xff\xff"),
        ("a.pdf", b"%PDF-1.7 no"),
        ("a.txt", b" \n"),
        ("a.txt", b""),
        ("a.png", b"x"),
    ],
)
def test_what_cannot_be_taken_in_is_one_line_and_leaves_nothing(
    alice, tmp_path, name, data, dry_run
):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CommandError) as caught:
        run("alice", str(path), dry_run=dry_run)
    assert "\n" not in str(caught.value)
    assert not StoredFile.objects.exists()
    assert not Document.objects.exists()


def test_a_user_or_file_that_is_not_there_is_named(alice, song):
    with pytest.raises(CommandError, match="no user 'bob'"):
        run("bob", song)
    with pytest.raises(CommandError, match="Cannot read"):
        run("alice", song + "x")


@pytest.mark.settings(DOCUMENTS_PER_USER=0)
def test_a_user_with_enough_documents_gets_no_more(alice, song):
    with pytest.raises(CommandError, match="0 documents"):
        run("alice", song)
    assert not StoredFile.objects.exists()
