"""`ingest_document`: take a file into a user's documents, so that chats can name it."""

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
    help = "Take a document in for a user: plain text, Markdown, HTML, PDF or Word (.docx)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="whose it will be")
        parser.add_argument("file", help="path of the file, - for standard input")
        parser.add_argument(
            "--title", default="", help="what it is called instead of the file's name"
        )
        parser.add_argument("--dry-run", action="store_true", help="read and report, write nothing")

    def handle(
        self, *args: Any, user: str, file: str, title: str, dry_run: bool, **options: Any
    ) -> None:
        owner = find_user(user)
        try:
            data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            name = guess_filename(data) if file == "-" else Path(file).name
            if dry_run:
                text = extract.extract_document_text(name, "", data)
                spans = divide_text(text, Splitting(), settings.DOCUMENT_SECONDS).scored_spans
                self.stdout.write(
                    f"{len(text)} characters in {len(spans)} passages. Nothing was written: "
                    "--dry-run."
                )
                return
            stored = file_storage.store_file(
                owner.pk, file_storage.Upload(name, "", FilePurpose.USER_DATA, [data])
            )
            document = ingest_stored_file(stored, title)
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from None
        except (extract.UnreadableDocument, IndivisibleText) as error:
            raise CommandError(f"Cannot take in {file}: {error}") from None
        except GatewayError as error:
            raise CommandError(error.message) from None
        self.stdout.write(
            f"{document.chars} characters in {document.passages.count()} passages: {document.pk}. "
            f"In chat it is the file {stored.pk}."
        )


def ingest_stored_file(stored: StoredFile, title: str) -> Document:
    """Take in a stored file and write its document's title; return the document.

    When that fails, file and document are deleted. Raises Indivisible, GatewayError.
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
    return "document.docx" if data.startswith(b"PK\3\4") else "document.txt"
