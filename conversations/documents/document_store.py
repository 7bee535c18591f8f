"""Claim, write, read and release documents in the database. For threads that may wait for it.

A process that takes a document in holds a lease (`Document.alive_until`). It writes only while it
holds the lease.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.conf import settings
from django.db import DatabaseError, transaction

from conversations.documents.index_worker import (
    IndivisibleText,
    ScoredSpan,
    Splitting,
    TextDivision,
    divide_text,
)
from conversations.models import Document, DocumentQuerySet, DocumentState, Passage
from providers.exceptions import Saturated

PASSAGES_PER_INSERT = 500
LEASE_MULTIPLIER = 2  # a lease is held for so many times DOCUMENT_SECONDS
NO_TEXT_REASONS = ("There is no text in it.", "It is empty.")  # messages of extract.py


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


def claim_document(document_id: str) -> DocumentLease | None:
    """Claim a document that no process works on, or return None. Writes state and lease."""
    free = Document.objects.filter_claimable().filter(pk=document_id)
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
    except BaseException:  # whatever ends the work, another process may claim the document
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


def read_document_text(document_id: str) -> str:
    """Join the text of a document's passages, which must not overlap."""
    rows = Passage.objects.filter(document_id=document_id).order_by("number")
    return "".join(rows.values_list("text", flat=True))
