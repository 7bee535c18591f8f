"""`ingest_document`: add a file to a user's documents, so that chats can name it."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from conversations.documents import ingest
from conversations.documents.index_worker import IndivisibleText, Splitting, divide_text
from conversations.files import file_storage
from conversations.models import Document, DocumentState, FilePurpose, StoredFile
from conversations.text import extract
from providers.exceptions import GatewayError
from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_user


class Command(GatewayCommand):
    help = "Ingest a document for a user: plain text, Markdown, HTML, PDF or Word (.docx)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="name of the user who will own it")
        parser.add_argument("file", help="path of the file, - for standard input")
        parser.add_argument("--title", default="", help="its title, instead of the file's name")
        parser.add_argument("--dry-run", action="store_true", help="read and report, write nothing")

    def handle(
        self, *args: Any, user: str, file: str, title: str, dry_run: bool, **options: Any
    ) -> None:
        owner = find_user(user)
        try:
            name, data = read_input(file)
            if dry_run:
                message = describe_dry_run(name, data)
            else:
                upload = file_storage.Upload(
                    name, "", FilePurpose.USER_DATA, [data], is_document=True
                )
                stored = file_storage.store_file(owner.pk, upload)
                message = describe_document(ingest_stored_file(stored, title), stored)
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from None
        except (extract.UnreadableDocument, IndivisibleText) as error:
            raise CommandError(f"Cannot ingest {file}: {error}") from None
        except GatewayError as error:
            raise CommandError(error.message) from None
        self.stdout.write(message)


def read_input(file: str) -> tuple[str, bytes]:
    """Return the name and the bytes of a file, or of standard input for -. Raises OSError."""
    if file == "-":
        data = sys.stdin.buffer.read()
        return guess_filename(data), data
    path = Path(file)
    return path.name, path.read_bytes()


def describe_dry_run(name: str, data: bytes) -> str:
    """Divide a document without writing anything; return what would be stored.

    Raises UnreadableDocument, IndivisibleText.
    """
    text = extract.extract_document_text(name, "", data)
    spans = divide_text(text, Splitting(), settings.DOCUMENT_SECONDS).scored_spans
    return f"{len(text)} characters in {len(spans)} passages. Nothing was written: --dry-run."


def describe_document(document: Document, stored: StoredFile) -> str:
    """Return what was stored."""
    return (
        f"{document.chars} characters in {document.passages.count()} passages: {document.pk}. "
        f"In chat it is the file {stored.pk}."
    )


def ingest_stored_file(stored: StoredFile, title: str) -> Document:
    """Ingest a stored file and write its document's title; return the document.

    When that fails, file and document are deleted. Raises IndivisibleText, GatewayError.
    """
    try:
        document = ingest.create_or_reset_document(stored)
        ingest.ingest_file_document(document.pk)
        document.refresh_from_db()
        if document.state != DocumentState.INGESTED:
            raise IndivisibleText(document.reason or "There is no text in it.")
    except (IndivisibleText, GatewayError):
        stored.delete()
        raise
    if title:
        document.title = title[:255]
        document.save(update_fields=["title"])
    return document


def guess_filename(data: bytes) -> str:
    """Return a filename for data that came without one."""
    if data.startswith(b"%PDF-"):
        return "document.pdf"
    if data.startswith(b"PK\3\4"):
        return "document.docx"
    return "document.txt"
