"""Take long texts in: divide and index each once for each user, content and way of dividing.

A Document goes from uploaded to processing, then to ingested, empty or error. The process that
works on it holds a lease (`document_store.py`); when it dies, the next one takes over. The text of
a request is taken in while the request waits (`ingest_text`); a second request with the same text
waits for the same work. The text of a file is taken in in the background (`start_file_ingestion`),
and a sweep takes up unfinished documents. `index_worker.py` does the processor's work in a process
of its own, at most WORKERS texts at a time. Each user's requests take in one text at a time
(`job_queue.py`), stored or not. Texts that take long to make come from `made_texts.py`.
"""

import asyncio
import logging
import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from conversations.documents import document_cache
from conversations.documents.document_rows import (
    DocumentKey,
    create_file_document,
    create_or_claim_document,
    find_and_record_use,
)
from conversations.documents.document_store import (
    SourceText,
    claim_document,
    release_on_failure,
    write_passages,
)
from conversations.documents.index_worker import IndivisibleText, Outline, Splitting
from conversations.documents.job_queue import JobQueues, MarkBegun
from conversations.documents.ranking import IngestedText
from conversations.files import file_storage, storage_quota
from conversations.models import Document, DocumentState, StoredFile
from providers.database.database_threads import LONG, await_in_time, await_work
from providers.exceptions import InvalidRequest, Saturated

logger = logging.getLogger(__name__)
WORKERS = 2
DOCUMENTS_PER_SWEEP = 500  # documents that one sweep takes up
FIRST_PAUSE_SECONDS = 0.05  # between two looks at a text that another process takes in
LONGEST_PAUSE_SECONDS = 0.5
TEXT_THREADS = ThreadPoolExecutor(WORKERS, thread_name_prefix="dividing")  # of requests
FILE_THREADS = ThreadPoolExecutor(WORKERS, thread_name_prefix="ingesting")  # in the background
text_queues: JobQueues[IngestedText | None] = JobQueues()  # texts of requests, running and waiting


# --- texts of requests ----------------------------------------------------------------------------
async def ingest_text(
    user_id: int | None,
    text: str,
    splitting: Splitting,
    *,
    file_id: str = "",
    queue: Hashable = None,
) -> IngestedText:
    """Return the outline of a text and its document's id; write the document if it is new.

    With `user_id` None, or when the user's quota is full, only the outline is made. `file_id` is
    the user's stored file that the text comes from; the document is deleted with it. `queue` is the
    key of the job queue, the user by default. Raises Saturated, DatabaseUnavailable,
    InvalidRequest.
    """
    try:
        async with asyncio.timeout(2 * settings.DOCUMENT_SECONDS):
            source_text = await asyncio.to_thread(SourceText.from_content, text, splitting)
            document_key = None
            if user_id is not None:
                document_key = DocumentKey(user_id, source_text.digest, len(text), file_id)
            queue_name = user_id if queue is None else queue
            return await ingest_or_wait(document_key, source_text, queue_name)
    except TimeoutError:
        raise Saturated("Too many documents are being taken in.", retry_after_seconds=5) from None
    except IndivisibleText as error:
        raise context_length_error(str(error)) from None


async def ingest_or_wait(
    document_key: DocumentKey | None, source_text: SourceText, queue_name: Hashable
) -> IngestedText:
    """Take a text in like `ingest_text`, without a time limit; write the document if it is new.

    Raises IndivisibleText in addition.
    """
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        stored = None
        if document_key is not None:
            stored = await await_in_time(LONG.run_work(find_and_record_use, document_key))
        if stored is None:
            ingested = await ingest_in_queue(document_key, source_text, queue_name)
            if ingested is not None:
                return ingested
        elif stored.state == DocumentState.ERROR:
            raise IndivisibleText(stored.reason)
        elif stored.state in (DocumentState.INGESTED, DocumentState.EMPTY):
            outline = await document_cache.find_outline(stored.document_id)
            if outline is not None:
                return IngestedText(stored.document_id, outline)
            document_key = None  # it was deleted just now
        else:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)


async def ingest_in_queue(
    document_key: DocumentKey | None, source_text: SourceText, queue_name: Hashable
) -> IngestedText | None:
    """Take a text in when its turn has come, or wait for the same work of another caller.

    None when another process has the text meanwhile.
    """
    job_key = (document_key, source_text.digest)
    work = partial(ingest_in_thread, document_key, source_text)
    return await await_work(text_queues.join_job(queue_name, job_key, work))


async def ingest_in_thread(
    document_key: DocumentKey | None, source_text: SourceText, mark_begun: MarkBegun
) -> IngestedText | None:
    """Take a text in and write its document, in one of the threads for texts of requests."""
    return await asyncio.get_running_loop().run_in_executor(
        TEXT_THREADS, claim_and_ingest, document_key, source_text, mark_begun
    )


def claim_and_ingest(
    document_key: DocumentKey | None, source_text: SourceText, mark_begun: MarkBegun
) -> IngestedText | None:
    """Claim, divide and write a text; return None when another process has it meanwhile.

    Without a key, or when the user's quota is full, the text is only divided. Raises
    IndivisibleText, Saturated, DatabaseError.
    """
    mark_begun()
    try:
        stored = create_or_claim_document(document_key) if document_key is not None else None
        if stored is None:
            division = source_text.make_division()
            return IngestedText("", Outline.from_packed(division.packed_outline))
        if stored.lease is None:
            return None
        with release_on_failure(stored.lease):
            division = source_text.make_division()
            if not write_passages(stored.lease, source_text, division):
                return None
        outline = document_cache.cache.store_packed_outline(
            stored.document_id, division.packed_outline
        )
        return IngestedText(stored.document_id, outline)
    finally:
        connection.close()


async def wait_for_texts() -> None:
    """Wait for the texts that are being taken in, before the process ends."""
    await text_queues.wait_for_jobs(settings.DOCUMENT_SECONDS)


def context_length_error(reason: str) -> InvalidRequest:
    message = f"The text is too long for the model and cannot be fitted: {reason}"
    return InvalidRequest(message, param="messages", code="context_length_exceeded")


# --- files ----------------------------------------------------------------------------------------
def start_file_ingestion(file: StoredFile) -> Document:
    """Start taking the file's text in, in the background; write and return its document.

    Raises InvalidRequest when the user's quota is full.
    """
    document = create_or_reset_document(file)
    if document.state == DocumentState.UPLOADED:
        transaction.on_commit(partial(submit_file_ingestion, document.pk))
    return document


def submit_file_ingestion(document_id: str) -> None:
    """Take in the text of a document's file in one of the threads for files."""
    job = FILE_THREADS.submit(ingest_in_background, document_id)
    job.add_done_callback(log_ingestion_error)


def create_or_reset_document(file: StoredFile) -> Document:
    """Return the file's document; create it if there is none, and reset one that failed.

    Raises InvalidRequest when the user's quota is full.
    """
    document = Document.objects.defer_index().filter(file=file).first()
    if document is None:
        storage_quota.require_storage_room(file.user_id, file.size_bytes)
        document = create_file_document(file)
    if document is None:
        message = f"You have {settings.DOCUMENTS_PER_USER} documents; delete some files first."
        raise InvalidRequest(message, code="too_many_documents")
    failed_rows = Document.objects.filter(pk=document.pk, state=DocumentState.ERROR)
    if failed_rows.release_lease("alive_until", state=DocumentState.UPLOADED, reason=""):
        document.refresh_from_db()
    return document


def ingest_in_background(document_id: str) -> None:
    if not threading.main_thread().is_alive():
        return  # the program is ending; the sweep of another process finds the document
    try:
        ingest_file_document(document_id)
    finally:
        connection.close()


def log_ingestion_error(finished_job: "Future[None]") -> None:
    if error := finished_job.exception():
        logger.error("a document was not taken in", exc_info=error)


def ingest_file_document(document_id: str) -> None:
    """Take in the text of a document's file, unless another process does or did.

    For any thread that may wait. Writes passages and state of the document.
    """
    lease = claim_document(document_id)
    if lease is None:
        return
    file = StoredFile.objects.filter(document=document_id).first()
    if file is None:
        return
    try:
        with release_on_failure(lease):
            text = SourceText.from_content(read_file_text(file), Splitting())
            write_passages(lease, text, text.make_division())
    except IndivisibleText:
        pass  # the document's row has the reason
    except Saturated as error:
        logger.warning("a document was not taken in, and will be tried again: %s", error)


def read_file_text(file: StoredFile) -> str:
    """Return the text of a stored file. Raises IndivisibleText when there is none."""
    if file.reason:
        raise IndivisibleText(file.reason)
    try:
        return file_storage.text_path_of(file.pk).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise IndivisibleText("It has no text, or this home does not have it.") from None
    except (OSError, UnicodeDecodeError):
        raise IndivisibleText("Its text cannot be read.") from None


def resume_abandoned_documents() -> int:
    """Take up documents whose processes died; return how many files there were.

    Texts of requests are not kept: their documents are deleted, and the next request starts again.
    """
    newest_time = timezone.now() - timedelta(seconds=2 * settings.DOCUMENT_SECONDS)
    abandoned = Document.objects.filter_awaiting_processing().filter(created_at__lte=newest_time)
    abandoned.filter(file=None).delete()
    files = abandoned.exclude(file=None).order_by("created_at")
    document_ids = list(files.values_list("pk", flat=True)[:DOCUMENTS_PER_SWEEP])
    for document_id in document_ids:
        ingest_file_document(document_id)
    return len(document_ids)
