"""Take long texts in: divide and index each once for each user, content and way of dividing.

A Document goes from uploaded to processing, then to ingested, empty or error. The process that
works on it holds a lease (`document_store.py`); when it dies, the next one takes over. The text of
a request is taken in while the request waits (`take_in`); a second request with the same text waits
for the same work. The text of a file is taken in in the background (`begin`), and a sweep takes up
unfinished documents. `index_worker.py` does the processor's work in a process of its own, at most
WORKERS texts at a time. Each user's requests take in one text at a time (`job_queue.py`), stored or
not.
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
    Lease,
    Place,
    Text,
    claim,
    claim_document,
    look,
    made_for,
    release_document,
    renew_claim,
    returned,
    text_of_rows,
    write,
)
from conversations.documents.index_worker import Divided, Indivisible, Outline, Splitting
from conversations.documents.job_queue import Begun, Line
from conversations.documents.ranking import Known, outline_of, shelf
from conversations.files import file_storage, storage_quota
from conversations.models import Document, DocumentState, Status, StoredFile
from providers.database.database_threads import LONG, heard, in_time
from providers.exceptions import DatabaseUnavailable, InvalidRequest, Saturated

logger = logging.getLogger(__name__)
WORKERS = 2
AT_A_TIME = 500  # documents that one sweep takes up
# first and longest pause between two looks at a text that another caller takes in
LOOK_SECONDS = (
    0.05,
    0.5,
)
TEXTS = ThreadPoolExecutor(WORKERS, thread_name_prefix="dividing")  # of requests
FILES = ThreadPoolExecutor(WORKERS, thread_name_prefix="ingesting")  # in the background
line: Line[Known | None] = Line()  # texts of requests, running and waiting


# --- texts of requests ----------------------------------------------------------------------------
async def take_in(
    user_id: int | None,
    text: str,
    splitting: Splitting,
    *,
    file_id: str = "",
    queue: Hashable = None,
) -> Known:
    """Return the outline of a text and its document's id; write the document if it is new.

    With `user_id` None, or when the user's quota is full, only the outline is made. `file_id` is
    the user's stored file that the text comes from; the document is deleted with it. `queue` is the
    key of the job queue, the user by default. Raises Saturated, DatabaseUnavailable,
    InvalidRequest.
    """
    try:
        async with asyncio.timeout(2 * settings.DOCUMENT_SECONDS):
            given = await asyncio.to_thread(Text.of, text, splitting)
            place = None if user_id is None else Place(user_id, given.digest, len(text), file_id)
            return await known(place, given, user_id if queue is None else queue)
    except TimeoutError:
        raise Saturated("Too many documents are being taken in.", retry_after_seconds=5) from None
    except Indivisible as error:
        raise refused(str(error)) from None


async def known(place: Place | None, text: Text, queue: Hashable) -> Known:
    """Take a text in like `take_in`, without a time limit; write the document if it is new.

    Raises Indivisible in addition.
    """
    pause, longest = LOOK_SECONDS
    while True:
        found = await in_time(LONG.run(look, place)) if place is not None else None
        if found is None:
            done = await heard(
                line.join(queue, (place, text.digest), partial(in_turn, place, text))
            )
            if done is not None:
                return done
        elif found.state == DocumentState.ERROR:
            raise Indivisible(found.reason)
        elif found.state in (DocumentState.INGESTED, DocumentState.EMPTY):
            if (outlined := await outline_of(found.document_id)) is not None:
                return Known(found.document_id, outlined)
            place = None  # it was deleted just now
        else:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)


async def in_turn(place: Place | None, text: Text, begun: Begun) -> Known | None:
    """Take a text in and write its document, in one of the threads for texts of requests."""
    return await asyncio.get_running_loop().run_in_executor(TEXTS, taken_in, place, text, begun)


def taken_in(place: Place | None, text: Text, begun: Begun) -> Known | None:
    """Claim, divide and write a text; return None when another process has it meanwhile.

    Raises Indivisible, Saturated, DatabaseError.
    """
    begun()
    try:
        found = claim(place) if place is not None else None
        if found is not None and found.lease is None:
            return None
        lease = found.lease if found is not None else None
        with returned(lease):
            made = divided(text)
            if lease is None:
                return Known("", Outline.unpack(made.packed))
            if not write(lease, text, made):
                return None
        return Known(lease.document_id, shelf.keep(lease.document_id, made.packed))
    finally:
        connection.close()


async def made_once(
    user_id: int | None, digest: str, make: Callable[[], Awaitable[str]]
) -> tuple[str, str]:
    """Write the text that `make` makes as a document, once; return text and document id.

    The text is kept under this digest, so that it is made only once for each user. The id is empty
    when nothing is stored. Raises the errors of `make`.
    """
    place = None if user_id is None else Place(user_id, digest)
    while place is not None and (found := await in_time(LONG.run(claim, place))) is not None:
        if found.lease is not None:
            return await made_now(found.lease, digest, make)
        if found.state == DocumentState.INGESTED:
            return await in_time(LONG.run(text_of_rows, found.document_id)), found.document_id
        if found.state in (DocumentState.EMPTY, DocumentState.ERROR):
            break
        await asyncio.sleep(LOOK_SECONDS[1])
    return await make(), ""


async def made_now(
    lease: Lease, digest: str, make: Callable[[], Awaitable[str]]
) -> tuple[str, str]:
    """Do the work of `made_once` with the lease; write the document.

    The lease is renewed as long as the work takes.
    """
    async with holding(lease) as held:
        try:
            text = Text(await make(), digest, Splitting())
            made = await asyncio.get_running_loop().run_in_executor(TEXTS, divided, text)
            async with held.lock:
                kept = await heard(LONG.run(write, held.lease, text, made))
        except BaseException:
            await asyncio.shield(held.release())
            raise
    return text.said, lease.document_id if kept else ""


class Held:
    """A lease that is renewed; `lock` is held while the document is written."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.lock = asyncio.Lock()

    async def renew_until_lost(self) -> None:
        """Renew the lease again and again; return when another process has it. Writes the row."""
        while True:
            await asyncio.sleep(settings.DOCUMENT_SECONDS / 2)
            async with self.lock:
                try:
                    longer = await asyncio.shield(heard(LONG.run(renew_claim, self.lease)))
                except DatabaseUnavailable:
                    continue
                if longer is None:
                    return
                self.lease = longer

    async def release(self) -> None:
        with suppress(DatabaseUnavailable):
            async with self.lock:
                await heard(LONG.run(release_document, self.lease))


@asynccontextmanager
async def holding(lease: Lease) -> AsyncIterator[Held]:
    """Renew the lease as long as the block runs."""
    held = Held(lease)
    task = asyncio.create_task(held.renew_until_lost())
    try:
        yield held
    finally:
        task.cancel()


async def settle() -> None:
    """Wait for the texts that are being taken in, before the process ends."""
    await line.settle(settings.DOCUMENT_SECONDS)


def divided(text: Text) -> Divided:
    """Divide a text, in a thread that may wait. Raises Indivisible, Saturated."""
    try:
        return text.divided()
    except OSError as error:  # no process can be started
        raise Saturated("Documents cannot be taken in now.", retry_after_seconds=5) from error


def refused(reason: str) -> InvalidRequest:
    why = f"The text is too long for the model and cannot be fitted: {reason}"
    return InvalidRequest(why, param="messages", code="context_length_exceeded")


# --- files ----------------------------------------------------------------------------------------
def begin(file: StoredFile) -> Document:
    """Start taking the file's text in, in the background; write and return its document.

    Raises InvalidRequest when the user's quota is full.
    """
    document = claimed(file)
    if document.state == DocumentState.UPLOADED:
        document_id = document.pk
        transaction.on_commit(
            lambda: FILES.submit(background, document_id).add_done_callback(report)
        )
    return document


def claimed(file: StoredFile) -> Document:
    """Return the file's document; create it if there is none, and reset one that failed.

    Raises InvalidRequest when the user's quota is full.
    """
    document = Document.objects.light().filter(file=file).first()
    if document is None:
        storage_quota.require_room(file.user_id, file.size_bytes)
        document = made_for(file)
    if document is None:
        most = settings.DOCUMENTS_PER_USER
        raise InvalidRequest(
            f"You have {most} documents; delete some files first.", code="too_many_documents"
        )
    failed = Document.objects.filter(pk=document.pk, state=DocumentState.ERROR)
    if failed.release_lease("alive_until", state=DocumentState.UPLOADED, reason=""):
        document.refresh_from_db()
    return document


def background(document_id: str) -> None:
    if not threading.main_thread().is_alive():
        return  # the program is ending; the sweep of another process finds the document
    try:
        process(document_id)
    finally:
        connection.close()


def report(done: "Future[None]") -> None:
    if error := done.exception():
        logger.error("a document was not taken in", exc_info=error)


def process(document_id: str) -> None:
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
        with returned(lease):
            text = Text.of(text_of(file), Splitting())
            write(lease, text, divided(text))
    except Indivisible:
        pass  # the document's row has the reason
    except Saturated as error:
        logger.warning("a document was not taken in, and will be tried again: %s", error)


def text_of(file: StoredFile) -> str:
    """Return the text of a stored file. Raises Indivisible when there is none."""
    if file.status == Status.ERROR:
        raise Indivisible(file.reason)
    try:
        return file_storage.text_path_of(file.pk).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Indivisible("It has no text, or this home does not have it.") from None
    except (OSError, UnicodeDecodeError):
        raise Indivisible("Its text cannot be read.") from None


def sweep() -> int:
    """Take up documents whose processes died; return how many files there were.

    Texts of requests are not kept: their documents are deleted, and the next request starts again.
    """
    before = timezone.now() - timedelta(seconds=2 * settings.DOCUMENT_SECONDS)
    left = Document.objects.left().filter(created_at__lte=before)
    left.filter(file=None).delete()
    found = list(
        left.exclude(file=None).order_by(F("created_at")).values_list("pk", flat=True)[:AT_A_TIME]
    )
    for document_id in found:
        process(document_id)
    return len(found)
