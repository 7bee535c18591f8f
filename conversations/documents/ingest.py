"""Take long texts in: divide and index each once for each user, content and way of dividing.

A Document goes from uploaded to processing, then to ingested, empty or error. The process that
works on it holds a lease (`document_store.py`); when it dies, the next one takes over. The text of
a request is taken in while the request waits (`ingest_text`); a second request with the same text
waits for the same work. The text of a file is taken in in the background (`start_file_ingestion`),
and a sweep takes up unfinished documents. `index_worker.py` does the processor's work in a process
of its own, at most WORKERS texts at a time. Each user's requests take in one text at a time
(`job_queue.py`), stored or not.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from conversations.documents.document_store import (
    DocumentKey,
    DocumentLease,
    SourceText,
    claim_document,
    create_file_document,
    create_or_claim_document,
    find_and_record_use,
    read_document_text,
    release_document,
    release_on_failure,
    renew_claim,
    write_passages,
)
from conversations.documents.index_worker import IndivisibleText, Outline, Splitting, TextDivision
from conversations.documents.job_queue import JobQueues, MarkBegun
from conversations.documents.ranking import IngestedText, document_cache, find_outline
from conversations.files import file_storage, storage_quota
from conversations.models import Document, DocumentState, FileStatus, StoredFile
from providers.database.database_threads import LONG, await_in_time, await_work
from providers.exceptions import DatabaseUnavailable, InvalidRequest, Saturated

logger = logging.getLogger(__name__)
WORKERS = 2
DOCUMENTS_PER_SWEEP = 500  # documents that one sweep takes up
# first and longest pause between two looks at a text that another caller takes in
POLL_PAUSES_SECONDS = (
    0.05,
    0.5,
)
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
            given = await asyncio.to_thread(SourceText.from_content, text, splitting)
            place = (
                None if user_id is None else DocumentKey(user_id, given.digest, len(text), file_id)
            )
            return await ingest_or_wait(place, given, user_id if queue is None else queue)
    except TimeoutError:
        raise Saturated("Too many documents are being taken in.", retry_after_seconds=5) from None
    except IndivisibleText as error:
        raise context_length_error(str(error)) from None


async def ingest_or_wait(
    document_key: DocumentKey | None, source_text: SourceText, queue: Hashable
) -> IngestedText:
    """Take a text in like `ingest_text`, without a time limit; write the document if it is new.

    Raises Indivisible in addition.
    """
    pause, longest = POLL_PAUSES_SECONDS
    while True:
        found = (
            await await_in_time(LONG.run_work(find_and_record_use, document_key))
            if document_key is not None
            else None
        )
        if found is None:
            done = await await_work(
                text_queues.join_job(
                    queue,
                    (document_key, source_text.digest),
                    partial(ingest_in_thread, document_key, source_text),
                )
            )
            if done is not None:
                return done
        elif found.state == DocumentState.ERROR:
            raise IndivisibleText(found.reason)
        elif found.state in (DocumentState.INGESTED, DocumentState.EMPTY):
            if (outlined := await find_outline(found.document_id)) is not None:
                return IngestedText(found.document_id, outlined)
            document_key = None  # it was deleted just now
        else:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)


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

    Raises Indivisible, Saturated, DatabaseError.
    """
    mark_begun()
    try:
        found = create_or_claim_document(document_key) if document_key is not None else None
        if found is not None and found.lease is None:
            return None
        lease = found.lease if found is not None else None
        with release_on_failure(lease):
            made = divide_source_text(source_text)
            if lease is None:
                return IngestedText("", Outline.from_packed(made.packed_outline))
            if not write_passages(lease, source_text, made):
                return None
        return IngestedText(
            lease.document_id,
            document_cache.store_packed_outline(lease.document_id, made.packed_outline),
        )
    finally:
        connection.close()


async def create_text_once(
    user_id: int | None, digest: str, make_text: Callable[[], Awaitable[str]]
) -> tuple[str, str]:
    """Write the text that `make_text` makes as a document, once; return text and document id.

    The text is kept under this digest, so that it is made only once for each user. The id is empty
    when nothing is stored. Raises the errors of `make_text`.
    """
    place = None if user_id is None else DocumentKey(user_id, digest)
    while (
        place is not None
        and (found := await await_in_time(LONG.run_work(create_or_claim_document, place)))
        is not None
    ):
        if found.lease is not None:
            return await create_text_under_lease(found.lease, digest, make_text)
        if found.state == DocumentState.INGESTED:
            return await await_in_time(
                LONG.run_work(read_document_text, found.document_id)
            ), found.document_id
        if found.state in (DocumentState.EMPTY, DocumentState.ERROR):
            break
        await asyncio.sleep(POLL_PAUSES_SECONDS[1])
    return await make_text(), ""


async def create_text_under_lease(
    lease: DocumentLease, digest: str, make_text: Callable[[], Awaitable[str]]
) -> tuple[str, str]:
    """Do the work of `create_text_once` with the lease; write the document.

    The lease is renewed as long as the work takes.
    """
    async with hold_lease(lease) as held:
        try:
            text = SourceText(await make_text(), digest, Splitting())
            made = await asyncio.get_running_loop().run_in_executor(
                TEXT_THREADS, divide_source_text, text
            )
            async with held.lock:
                kept = await await_work(LONG.run_work(write_passages, held.lease, text, made))
        except BaseException:
            await asyncio.shield(held.release_claim())
            raise
    return text.content, lease.document_id if kept else ""


class HeldLease:
    """A lease that is renewed; `lock` is held while the document is written."""

    def __init__(self, lease: DocumentLease) -> None:
        self.lease = lease
        self.lock = asyncio.Lock()

    async def renew_until_lost(self) -> None:
        """Renew the lease again and again; return when another process has it. Writes the row."""
        while True:
            await asyncio.sleep(settings.DOCUMENT_SECONDS / 2)
            async with self.lock:
                try:
                    longer = await asyncio.shield(
                        await_work(LONG.run_work(renew_claim, self.lease))
                    )
                except DatabaseUnavailable:
                    continue
                if longer is None:
                    return
                self.lease = longer

    async def release_claim(self) -> None:
        with suppress(DatabaseUnavailable):
            async with self.lock:
                await await_work(LONG.run_work(release_document, self.lease))


@asynccontextmanager
async def hold_lease(lease: DocumentLease) -> AsyncIterator[HeldLease]:
    """Renew the lease as long as the block runs."""
    held = HeldLease(lease)
    task = asyncio.create_task(held.renew_until_lost())
    try:
        yield held
    finally:
        task.cancel()


async def wait_for_texts() -> None:
    """Wait for the texts that are being taken in, before the process ends."""
    await text_queues.wait_for_jobs(settings.DOCUMENT_SECONDS)


def divide_source_text(source_text: SourceText) -> TextDivision:
    """Divide a text, in a thread that may wait. Raises Indivisible, Saturated."""
    try:
        return source_text.make_division()
    except OSError as error:  # no process can be started
        raise Saturated("Documents cannot be taken in now.", retry_after_seconds=5) from error


def context_length_error(reason: str) -> InvalidRequest:
    why = f"The text is too long for the model and cannot be fitted: {reason}"
    return InvalidRequest(why, param="messages", code="context_length_exceeded")


# --- files ----------------------------------------------------------------------------------------
def start_file_ingestion(file: StoredFile) -> Document:
    """Start taking the file's text in, in the background; write and return its document.

    Raises InvalidRequest when the user's quota is full.
    """
    document = create_or_reset_document(file)
    if document.state == DocumentState.UPLOADED:
        document_id = document.pk
        transaction.on_commit(
            lambda: FILE_THREADS.submit(ingest_in_background, document_id).add_done_callback(
                log_ingestion_error
            )
        )
    return document


def create_or_reset_document(file: StoredFile) -> Document:
    """Return the file's document; create it if there is none, and reset one that failed.

    Raises InvalidRequest when the user's quota is full.
    """
    document = Document.objects.without_index().filter(file=file).first()
    if document is None:
        storage_quota.require_storage_room(file.user_id, file.size_bytes)
        document = create_file_document(file)
    if document is None:
        most = settings.DOCUMENTS_PER_USER
        raise InvalidRequest(
            f"You have {most} documents; delete some files first.", code="too_many_documents"
        )
    failed = Document.objects.filter(pk=document.pk, state=DocumentState.ERROR)
    if failed.release_lease("alive_until", state=DocumentState.UPLOADED, reason=""):
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
            write_passages(lease, text, divide_source_text(text))
    except IndivisibleText:
        pass  # the document's row has the reason
    except Saturated as error:
        logger.warning("a document was not taken in, and will be tried again: %s", error)


def read_file_text(file: StoredFile) -> str:
    """Return the text of a stored file. Raises Indivisible when there is none."""
    if file.status == FileStatus.ERROR:
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
    before = timezone.now() - timedelta(seconds=2 * settings.DOCUMENT_SECONDS)
    left = Document.objects.awaiting_processing().filter(created_at__lte=before)
    left.filter(file=None).delete()
    found = list(
        left.exclude(file=None)
        .order_by(F("created_at"))
        .values_list("pk", flat=True)[:DOCUMENTS_PER_SWEEP]
    )
    for document_id in found:
        ingest_file_document(document_id)
    return len(found)
