"""Find, claim, write and release documents in the database. For threads that may wait for it.

A process that takes a document in holds a lease (`Document.alive_until`). It writes only while it
holds the lease.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction
from django.utils import timezone

from conversations.documents.index_worker import (
    IndivisibleText,
    ScoredSpan,
    Splitting,
    TextDivision,
    divide_text,
)
from conversations.models import Document, DocumentQuerySet, DocumentState, Passage, StoredFile
from providers.exceptions import Saturated

PASSAGES_PER_INSERT = 500
LEASE_MULTIPLIER = 2  # a lease is held for so many times DOCUMENT_SECONDS
NO_TEXT_REASONS = ("There is no text in it.", "It is empty.")  # messages of extract.py
DONE_STATES = (DocumentState.INGESTED, DocumentState.EMPTY)
USE_WRITE_INTERVAL_SECONDS = 60.0  # between two writes of a document's last use
RowFields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DocumentLease:
    """The right to process a document until `ends_at`."""

    document_id: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text to be taken in.

    `digest` is a hash of the text and of how it is divided.
    """

    content: str
    digest: str
    splitting: Splitting

    @classmethod
    def from_content(cls, content: str, splitting: Splitting) -> "SourceText":
        return cls(content, splitting.compute_digest(content), splitting)

    def make_division(self) -> TextDivision:
        """Divide the text, in a thread that may wait; this takes up to DOCUMENT_SECONDS.

        Raises IndivisibleText, Saturated.
        """
        try:
            return divide_text(self.content, self.splitting, settings.DOCUMENT_SECONDS)
        except OSError as error:  # no process can be started
            message = "Documents cannot be taken in now."
            raise Saturated(message, retry_after_seconds=5) from error


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
    if row.state not in DONE_STATES and Document.objects.claimable().filter(pk=row.pk).exists():
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
        row = Document.objects.without_index().filter(user_id=user_id, **lookup_fields).first()
        if row is None and delete_to_make_room(user_id):
            row = Document.objects.create(user_id=user_id, **lookup_fields, **new_fields)
        return row


def create_file_document(file: StoredFile) -> Document | None:
    """Return the document of a file; create it like `get_or_create_document`."""
    return get_or_create_document(file.user_id, {"file": file}, {"title": file.filename})


def read_document_text(document_id: str) -> str:
    """Join the text of a document's passages, which must not overlap."""
    rows = Passage.objects.filter(document_id=document_id).order_by("number")
    return "".join(rows.values_list("text", flat=True))


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


def claim_document(document_id: str) -> DocumentLease | None:
    """Claim a document that no process works on, or return None. Writes state and lease."""
    free = Document.objects.claimable().filter(pk=document_id)
    seconds = LEASE_MULTIPLIER * settings.DOCUMENT_SECONDS
    if not free.claim_lease("alive_until", seconds, state=DocumentState.PROCESSING, reason=""):
        return None
    return read_lease(document_id)


def renew_claim(lease: DocumentLease) -> DocumentLease | None:
    """Renew the lease and return it with its new end, or None when it is lost."""
    seconds = LEASE_MULTIPLIER * settings.DOCUMENT_SECONDS
    if not leased_rows(lease).renew_lease("alive_until", seconds):
        return None
    return read_lease(lease.document_id)


def read_lease(document_id: str) -> DocumentLease | None:
    """Return the lease just claimed or renewed, with the end that the database has set."""
    until = Document.objects.filter(pk=document_id).values_list("alive_until", flat=True).first()
    return DocumentLease(document_id, until) if until else None


@contextmanager
def release_on_failure(lease: DocumentLease) -> Iterator[None]:
    """Release the lease if the block fails, or mark the document as empty or failed.

    The document is marked when the block raises IndivisibleText; on any other error it can be
    claimed again at once. The error is raised again.
    """
    try:
        yield
    except IndivisibleText as error:
        reason = str(error)
        is_empty = reason in NO_TEXT_REASONS
        mark_document_failed(
            lease, DocumentState.EMPTY if is_empty else DocumentState.ERROR, reason
        )
        raise
    except BaseException:
        with suppress(DatabaseError):
            release_document(lease)
        raise


def write_passages(lease: DocumentLease, source_text: SourceText, division: TextDivision) -> bool:
    """Write passages and index of a text, all or nothing; return whether the lease still held."""
    with transaction.atomic():
        if not leased_rows(lease).select_for_update().exists():
            return False
        Passage.objects.filter(document_id=lease.document_id).delete()
        scored_spans = division.scored_spans
        rows = build_passage_rows(lease.document_id, source_text.content, scored_spans)
        while batch := list(islice(rows, PASSAGES_PER_INSERT)):
            Passage.objects.bulk_create(batch)
        leased_rows(lease).release_lease(
            "alive_until",
            state=DocumentState.INGESTED if scored_spans else DocumentState.EMPTY,
            digest=source_text.digest,
            chars=len(source_text.content),
            index=division.packed_outline,
        )
    return True


def leased_rows(lease: DocumentLease) -> DocumentQuerySet:
    """Return the document of a lease while the lease is held; its end identifies the holder."""
    return Document.objects.filter(
        pk=lease.document_id, state=DocumentState.PROCESSING, alive_until=lease.ends_at
    )


def build_passage_rows(
    document_id: str, text: str, scored_spans: Iterable[ScoredSpan]
) -> Iterator[Passage]:
    for number, (start, end, score) in enumerate(scored_spans):
        yield Passage(
            document_id=document_id,
            number=number,
            start=start,
            end=end,
            score=score,
            text=text[start:end].replace("\0", "\ufffd"),  # Postgres cannot store NUL
        )


def mark_document_failed(lease: DocumentLease, state: DocumentState, reason: str) -> None:
    """Write why there are no passages; keep the lease, so that requests do not retry at once."""
    leased_rows(lease).update(state=state, reason=reason[:200])


def release_document(lease: DocumentLease) -> None:
    """Release the lease, so that the document can be claimed again at once."""
    leased_rows(lease).release_lease("alive_until", state=DocumentState.UPLOADED)
