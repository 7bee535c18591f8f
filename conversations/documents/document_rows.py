"""Find and create the documents of texts, within the user's quota. For threads that may wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from conversations.documents.document_store import DocumentLease, claim_document
from conversations.models import Document, DocumentState, StoredFile

DONE_STATES = (DocumentState.INGESTED, DocumentState.EMPTY)
USE_WRITE_INTERVAL_SECONDS = 60.0  # between two writes of a document's last use
RowFields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The state of a text's document, and a lease when the caller is to process it."""

    document_id: str
    state: str
    reason: str = ""
    lease: DocumentLease | None = None


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """The owner of a text's document.

    It is a user, or a stored file of that user; the document is deleted with the file.
    """

    user_id: int
    digest: str
    chars: int = 0
    file_id: str = ""


def find_and_record_use(document_key: DocumentKey) -> StoredDocument | None:
    """Return the document of a text without claiming it, or None; write that it was used.

    None also when the document is free to be taken in now. The use of a file's document is not
    written.
    """
    row = find_best_document(document_key)
    if row is None:
        return None
    if row.file_id is None:
        record_document_use(row)
    if (
        row.state not in DONE_STATES
        and Document.objects.filter_claimable().filter(pk=row.pk).exists()
    ):
        return None
    return StoredDocument(row.pk, row.state, row.reason)


def find_best_document(document_key: DocumentKey) -> Document | None:
    """Return the best document of a text: the one of its file, else one of the same content."""
    documents = Document.objects.of_user(document_key.user_id)
    if document_key.file_id:
        row = documents.filter(file=document_key.file_id).first()
        if row is not None and not is_of_other_text(row, document_key):
            return row
    same_content = documents.filter(digest=document_key.digest)
    row = same_content.filter(state=DocumentState.INGESTED).first()
    if row is None and not document_key.file_id:
        row = same_content.filter(file=None).first()
    return row


def is_of_other_text(row: Document, document_key: DocumentKey) -> bool:
    """Return whether a file's document was made of another text than the one with this key."""
    return row.state == DocumentState.INGESTED and row.chars != document_key.chars


@transaction.atomic
def create_or_claim_document(document_key: DocumentKey) -> StoredDocument | None:
    """Find or create the text's document and lease it if it is unprocessed.

    None when the user's quota is full or the file is missing. A new document is created and leased
    in one transaction; otherwise quota eviction could delete it.
    """
    row = find_best_document(document_key)
    if row is None:
        row = create_document(document_key)
        if row is None:
            return None
    elif row.file_id is None:
        record_document_use(row)
    lease = None if row.state in DONE_STATES else claim_document(row.pk)
    return StoredDocument(row.pk, row.state, row.reason, lease)


def create_document(document_key: DocumentKey) -> Document | None:
    """Create the text's document; None when the user's quota is full or the file is missing.

    None also when the file has a document of another text.
    """
    if not document_key.file_id:
        return get_or_create_document(
            document_key.user_id,
            {"digest": document_key.digest, "file": None},
            build_expiry_fields(),
        )
    files = StoredFile.objects.of_user(document_key.user_id)
    file = files.filter(pk=document_key.file_id).first()
    if file is None or Document.objects.filter(file=file).exists():
        return None
    return create_file_document(file)


def get_or_create_document(
    user_id: int, lookup_fields: RowFields, new_fields: RowFields
) -> Document | None:
    """Return the user's document of this kind; create it if there is none.

    None when the user's quota is full; the quota may delete the oldest unused documents. The user's
    row is locked, so that concurrent calls cannot exceed the quota.
    """
    with transaction.atomic():
        users = get_user_model().objects.select_for_update(no_key=True)
        list(users.filter(pk=user_id).values_list("pk"))
        row = Document.objects.defer_index().filter(user_id=user_id, **lookup_fields).first()
        if row is None and delete_to_make_room(user_id):
            row = Document.objects.create(user_id=user_id, **lookup_fields, **new_fields)
        return row


def create_file_document(file: StoredFile) -> Document | None:
    """Return the document of a file; create it like `get_or_create_document`."""
    return get_or_create_document(file.user_id, {"file": file}, {"title": file.filename})


def delete_to_make_room(user_id: int) -> bool:
    """Return whether the user may have one more document; delete unused ones to make room.

    Only texts of requests are deleted, those unused for the longest time first.
    """
    excess: int = Document.objects.filter(user_id=user_id).count() + 1 - settings.DOCUMENTS_PER_USER
    if excess <= 0:
        return True
    texts = Document.objects.filter(user_id=user_id, file=None).exclude(
        state=DocumentState.PROCESSING
    )
    oldest = list(texts.order_by("used_at").values_list("pk", flat=True)[:excess])
    Document.objects.filter(pk__in=oldest).delete()
    return len(oldest) == excess


def build_expiry_fields() -> dict[str, datetime]:
    return {"expires_at": timezone.now() + timedelta(seconds=settings.DOCUMENT_IDLE_SECONDS)}


def record_document_use(row: Document) -> None:
    """Write that a request's text was used now, which puts off its expiry."""
    now = timezone.now()
    if row.used_at < now - timedelta(seconds=USE_WRITE_INTERVAL_SECONDS):
        Document.objects.filter(pk=row.pk).update(used_at=now, **build_expiry_fields())
