"""Find, claim, write and release documents in the database. For threads that may wait for it.

A process that takes a document in holds a lease (`Document.alive_until`). It writes only while it
holds the lease.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction
from django.utils import timezone

from conversations.documents.index_worker import Divided, Indivisible, Splitting, divide
from conversations.models import Document, DocumentQuerySet, DocumentState, Passage, StoredFile

ROWS_AT_A_TIME = 500
LEASE_TIMES = 2  # a lease is held for so many times DOCUMENT_SECONDS
NO_TEXT = ("There is no text in it.", "It is empty.")  # messages of extract.py
TOUCH_SECONDS = 60.0  # between two writes of a document's last use


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to process a document until `until`."""

    document_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Text:
    """A text to be taken in.

    `digest` is a hash of the text and of how it is divided.
    """

    said: str
    digest: str
    splitting: Splitting

    @classmethod
    def of(cls, said: str, splitting: Splitting) -> "Text":
        return cls(said, splitting.digest(said), splitting)

    def divided(self) -> Divided:
        """Divide the text; this takes up to DOCUMENT_SECONDS. Raises Indivisible."""
        return divide(self.said, self.splitting, settings.DOCUMENT_SECONDS)


@dataclass(frozen=True, slots=True)
class Found:
    """The state of a text's document, and a lease when the caller is to process it."""

    document_id: str
    state: str
    reason: str = ""
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The owner of a text's document.

    It is a user, or a stored file of that user; the document is deleted with the file.
    """

    user_id: int
    digest: str
    chars: int = 0
    file_id: str = ""


def look(place: Place) -> Found | None:
    """Return the document of a text without claiming it, or None; write that it was used.

    None also when the document is free to be taken in now. The use of a file's document is not
    written.
    """
    row = best(place)
    if row is None:
        return None
    if row.file_id is None:
        touch(row)
    done = row.state in (DocumentState.INGESTED, DocumentState.EMPTY)
    if not done and Document.objects.free().filter(pk=row.pk).exists():
        return None
    return Found(row.pk, row.state, row.reason)


def best(place: Place) -> Document | None:
    """Return the best document of a text: the one of its file, else one of the same content."""
    mine = Document.objects.of(place.user_id)
    if place.file_id:
        row = mine.filter(file=place.file_id).first()
        if row is not None and not (
            row.state == DocumentState.INGESTED and row.chars != place.chars
        ):
            return row
    same = mine.filter(digest=place.digest)
    done = same.filter(state=DocumentState.INGESTED).first()
    return done or (None if place.file_id else same.filter(file=None).first())


@transaction.atomic
def claim(place: Place) -> Found | None:
    """Find or create the text's document and lease it if it is unprocessed.

    None when the user's quota is full or the file is missing. A new document is created and leased
    in one transaction; otherwise quota eviction could delete it.
    """
    row = best(place)
    if row is None:
        if place.file_id:
            file = StoredFile.objects.of(place.user_id).filter(pk=place.file_id).first()
            row = (
                None
                if file is None or Document.objects.filter(file=file).exists()
                else made_for(file)
            )
        else:
            row = made(place.user_id, {"digest": place.digest, "file": None}, expiry())
        if row is None:
            return None
    elif row.file_id is None:
        touch(row)
    is_done = row.state in (DocumentState.INGESTED, DocumentState.EMPTY)
    lease = None if is_done else claim_document(row.pk)
    return Found(row.pk, row.state, row.reason, lease)


def made(user_id: int, of: dict[str, Any], fields: dict[str, Any]) -> Document | None:
    """Return the user's document of this kind; create it if there is none.

    None when the user's quota is full; the quota may delete the oldest unused documents. The user's
    row is locked, so that concurrent calls cannot exceed the quota.
    """
    with transaction.atomic():
        list(
            get_user_model()
            .objects.select_for_update(no_key=True)
            .filter(pk=user_id)
            .values_list("pk")
        )
        row = Document.objects.light().filter(user_id=user_id, **of).first()
        if row is None and make_room(user_id):
            row = Document.objects.create(user_id=user_id, **of, **fields)
        return row


def made_for(file: StoredFile) -> Document | None:
    """Return the document of a file; create it like `made`."""
    return made(file.user_id, {"file": file}, {"title": file.filename})


def text_of_rows(document_id: str) -> str:
    """Join the text of a document's passages, which must not overlap."""
    rows = Passage.objects.filter(document_id=document_id).order_by("number")
    return "".join(rows.values_list("text", flat=True))


def make_room(user_id: int) -> bool:
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


def expiry() -> dict[str, datetime]:
    return {"expires_at": timezone.now() + timedelta(seconds=settings.DOCUMENT_IDLE_SECONDS)}


def touch(row: Document) -> None:
    """Write that a request's text was used now, which puts off its expiry."""
    now = timezone.now()
    if row.used_at < now - timedelta(seconds=TOUCH_SECONDS):
        Document.objects.filter(pk=row.pk).update(used_at=now, **expiry())


def claim_document(document_id: str) -> Lease | None:
    """Claim a document that no process works on, or return None. Writes state and lease."""
    free = Document.objects.free().filter(pk=document_id)
    seconds = LEASE_TIMES * settings.DOCUMENT_SECONDS
    if not free.claim_lease("alive_until", seconds, state=DocumentState.PROCESSING, reason=""):
        return None
    return read_lease(document_id)


def renew_claim(lease: Lease) -> Lease | None:
    """Renew the lease and return it with its new end, or None when it is lost."""
    seconds = LEASE_TIMES * settings.DOCUMENT_SECONDS
    if not leased_rows(lease).renew_lease("alive_until", seconds):
        return None
    return read_lease(lease.document_id)


def read_lease(document_id: str) -> Lease | None:
    """Return the lease just claimed or renewed, with the end that the database has set."""
    until = Document.objects.filter(pk=document_id).values_list("alive_until", flat=True).first()
    return Lease(document_id, until) if until else None


@contextmanager
def returned(lease: Lease | None) -> Iterator[None]:
    """Release the lease if the block fails, or mark the document as empty or failed.

    The document is marked when the block raises Indivisible; on any other error it can be claimed
    again at once. The error is raised again.
    """
    try:
        yield
    except Indivisible as error:
        if lease is not None:
            fail(
                lease,
                DocumentState.EMPTY if str(error) in NO_TEXT else DocumentState.ERROR,
                str(error),
            )
        raise
    except BaseException:
        if lease is not None:
            with suppress(DatabaseError):
                release_document(lease)
        raise


def write(lease: Lease, text: Text, divided: Divided) -> bool:
    """Write passages and index of a text, all or nothing; return whether the lease still held."""
    with transaction.atomic():
        if not leased_rows(lease).select_for_update().exists():
            return False
        Passage.objects.filter(document_id=lease.document_id).delete()
        rows = passages(lease.document_id, text.said, divided)
        while some := list(islice(rows, ROWS_AT_A_TIME)):
            Passage.objects.bulk_create(some)
        state = DocumentState.INGESTED if divided.spans else DocumentState.EMPTY
        done = {
            "state": state,
            "digest": text.digest,
            "chars": len(text.said),
            "index": divided.packed,
        }
        leased_rows(lease).release_lease("alive_until", **done)
    return True


def leased_rows(lease: Lease) -> DocumentQuerySet:
    """Return the document of a lease while the lease is held; its end identifies the holder."""
    return Document.objects.filter(
        pk=lease.document_id, state=DocumentState.PROCESSING, alive_until=lease.until
    )


def passages(document_id: str, text: str, divided: Divided) -> Iterator[Passage]:
    for number, (start, end, score) in enumerate(divided.spans):
        said = text[start:end].replace("\0", "\ufffd")  # Postgres cannot store NUL
        yield Passage(
            document_id=document_id, number=number, start=start, end=end, score=score, text=said
        )


def fail(lease: Lease, state: DocumentState, reason: str) -> None:
    """Write why there are no passages; keep the lease, so that requests do not retry at once."""
    leased_rows(lease).update(state=state, reason=reason[:200])


def release_document(lease: Lease) -> None:
    """Release the lease, so that the document can be claimed again at once."""
    leased_rows(lease).release_lease("alive_until", state=DocumentState.UPLOADED)
