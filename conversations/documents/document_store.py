"""Documents as rows: found, claimed, written, given up. All of it is for threads that may wait for
the database.

Whoever takes a document in holds a lease (`Document.alive_until`) and writes only while it is his.
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
LEASE_TIMES = 2  # DOCUMENT_SECONDS that a lease is held
NO_TEXT = ("There is no text in it.", "It is empty.")  # of extract.py
TOUCH_SECONDS = 60.0  # use is written down at most once within it


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to process a document until `until`."""

    document_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is to be taken in; its `digest` is also of how it is divided."""

    said: str
    digest: str
    splitting: Splitting

    @classmethod
    def of(cls, said: str, splitting: Splitting) -> "Text":
        return cls(said, splitting.digest(said), splitting)

    def divided(self) -> Divided:
        """Takes a while. Raises Indivisible."""
        return divide(self.said, self.splitting, settings.DOCUMENT_SECONDS)


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a text: its row's state, and a lease when it is the asker's to process."""

    document_id: str
    state: str
    reason: str = ""
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Whose document a text becomes: a user's, or that of a stored file of his, with which it
    goes.
    """

    user_id: int
    digest: str
    chars: int = 0
    file_id: str = ""


def look(place: Place) -> Found | None:
    """What there is of a text, without a claim: None when there is nothing, or what there is may be
    taken in now.
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
    """The document of a text: of its file, whatever took that in, or of the same content."""
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
    """The document of a text, claimed for the asker when nobody has or is processing it; a new one
    when there is none; None when he may have no more, or the file is not there. A new one is never
    seen unclaimed: it would make way.
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
    """The user's document of this kind, made when there is none; None when he may have no more. One
    at a time for each user, so that many at once are not more than he may have.
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
    """The document of a file, as `made` makes it."""
    return made(file.user_id, {"file": file}, {"title": file.filename})


def text_of_rows(document_id: str) -> str:
    """A document's text as its passages hold it, where these do not overlap."""
    rows = Passage.objects.filter(document_id=document_id).order_by("number")
    return "".join(rows.values_list("text", flat=True))


def make_room(user_id: int) -> bool:
    """Whether the user may have one more document; of the texts of his requests the longest unused
    makes way.
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
    """Note that a request's text was used, which puts off its end."""
    now = timezone.now()
    if row.used_at < now - timedelta(seconds=TOUCH_SECONDS):
        Document.objects.filter(pk=row.pk).update(used_at=now, **expiry())


def claim_document(document_id: str) -> Lease | None:
    """Claim a document that nobody is processing; None when somebody is. Writes state and lease."""
    free = Document.objects.free().filter(pk=document_id)
    seconds = LEASE_TIMES * settings.DOCUMENT_SECONDS
    if not free.claim_lease("alive_until", seconds, state=DocumentState.PROCESSING, reason=""):
        return None
    return read_lease(document_id)


def renew_claim(lease: Lease) -> Lease | None:
    """Return the lease with a later end, or None when it is not held any more. Writes its end."""
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
    """What cannot be divided is noted as such; whatever else goes wrong, the document is free again
    at once.
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
    """Write what a text was divided into, all or nothing; returns whether the lease still held."""
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
    """Return the document of a lease, while the lease is held: its end says whose it is."""
    return Document.objects.filter(
        pk=lease.document_id, state=DocumentState.PROCESSING, alive_until=lease.until
    )


def passages(document_id: str, text: str, divided: Divided) -> Iterator[Passage]:
    for number, (start, end, score) in enumerate(divided.spans):
        said = text[start:end].replace("\0", "\ufffd")  # which Postgres has no place for
        yield Passage(
            document_id=document_id, number=number, start=start, end=end, score=score, text=said
        )


def fail(lease: Lease, state: DocumentState, reason: str) -> None:
    """Write why there are no passages; the lease stays: requests do not try again at once."""
    leased_rows(lease).update(state=state, reason=reason[:200])


def release_document(lease: Lease) -> None:
    """Release the lease: the document can be claimed again at once."""
    leased_rows(lease).release_lease("alive_until", state=DocumentState.UPLOADED)
