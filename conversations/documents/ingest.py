"""Texts -> rows: a long text is taken in once for each user, content and way of dividing it.

A Document goes uploaded -> processing -> ingested, empty or error. Whoever processes it holds a lease (`rows.py`); when
he is dead the next one takes over. The text of a request is taken in while the
request waits (`take_in`), and so does another one with the same text; the text of a file in the background (`begin`),
and a sweep takes up what was left. What costs the processor is done by `divide.py` in a process of its own; at most
WORKERS texts at a time, and of a user's requests one.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from weakref import WeakValueDictionary

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from conversations import files
from conversations.documents.divide import Divided, Indivisible, Outline, Splitting
from conversations.documents.recall import Known, shelf
from conversations.documents.rows import (
    Lease,
    Text,
    fail,
    find,
    give_back,
    make_room,
    take,
    text_of_rows,
    write,
)
from conversations.models import Document, DocumentState, Status, StoredFile
from providers.exceptions import GatewayError, InvalidRequest, Saturated
from providers.offloop import heard, in_time, off_loop

logger = logging.getLogger(__name__)
WORKERS = 2
AT_A_TIME = 500  # of what was left
LOOK_SECONDS = (0.05, 0.5)  # between two looks at what somebody else is taking in: at first, at most
NO_TEXT = ("There is no text in it.", "It is empty.")  # of extract.py
TEXTS = ThreadPoolExecutor(WORKERS, thread_name_prefix="dividing")  # of requests
FILES = ThreadPoolExecutor(WORKERS, thread_name_prefix="ingesting")  # in the background
turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
running: set["asyncio.Task[None]"] = set()  # texts that are taken in


# --- texts of requests ------------------------------------------------------------------------------------------------
async def take_in(user_id: int | None, text: str, splitting: Splitting) -> Known:
    """The outline of a text and the id of its document, taken in now if it was not before; for nobody, or where there
    is no room for one more, the outline alone. Raises Saturated, DatabaseUnavailable, InvalidRequest.
    """
    try:
        async with asyncio.timeout(2 * settings.DOCUMENT_SECONDS):
            given = await asyncio.to_thread(Text.of, text, splitting)
            return await known(user_id, given)
    except TimeoutError:
        raise Saturated("Too many documents are being taken in.", retry_after_seconds=5) from None
    except Indivisible as error:
        raise refused(str(error)) from None


async def known(user_id: int | None, text: Text) -> Known:
    """`take_in`, without an end to its patience. Raises Indivisible besides."""
    pause, longest = LOOK_SECONDS
    while user_id is not None and (found := await in_time(off_loop(find, user_id, text.digest))) is not None:
        if found.lease is not None:
            await process_text(user_id, found.lease, text)
        elif found.state == DocumentState.ERROR:
            raise Indivisible(found.reason)
        elif found.state in (DocumentState.INGESTED, DocumentState.EMPTY):
            outlined = await in_time(off_loop(shelf.outline, found.document_id))
            if outlined is not None:  # else it was deleted this moment
                return Known(found.document_id, outlined)
        else:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
    made = await divided(text)
    return Known("", await asyncio.to_thread(Outline.unpack, made.packed))


async def process_text(user_id: int, lease: Lease, text: Text) -> None:
    """Divide and write, one text of a user at a time; goes on when the request is given up. Raises Indivisible."""

    async def work() -> None:
        async with turns.setdefault(user_id, asyncio.Lock()):
            try:
                made = await divided(text)
            except Indivisible as error:
                await heard(off_loop(fail, lease, DocumentState.ERROR, str(error)))
                raise
            await heard(off_loop(write, lease, text, made))

    task = asyncio.create_task(work())
    running.add(task)
    task.add_done_callback(ended)
    await asyncio.shield(task)


async def made_once(user_id: int | None, digest: str, make: Callable[[], Awaitable[str]]) -> tuple[str, str]:
    """The text that `make` makes, kept under this digest as a document of its own, so that it is made once; and the id
    of that document, empty when there is none. Raises what `make` raises.
    """
    while user_id is not None and (found := await in_time(off_loop(find, user_id, digest))) is not None:
        if found.lease is not None:
            try:
                text = Text(await make(), digest, Splitting())
                await heard(off_loop(write, found.lease, text, await divided(text)))
            except BaseException:
                await asyncio.shield(off_loop(give_back, found.lease))
                raise
            return text.said, found.document_id
        if found.state == DocumentState.INGESTED:
            return await in_time(off_loop(text_of_rows, found.document_id)), found.document_id
        if found.state != DocumentState.PROCESSING:
            break
        await asyncio.sleep(LOOK_SECONDS[1])
    return await make(), ""


def ended(task: "asyncio.Task[None]") -> None:
    running.discard(task)
    if not task.cancelled() and (error := task.exception()) and not isinstance(error, Indivisible | GatewayError):
        logger.error("a text was not taken in", exc_info=error)


async def settle() -> None:
    """Let the texts that are being taken in come to their end, before the process ends."""
    if running:
        await asyncio.wait(running, timeout=settings.DOCUMENT_SECONDS)


async def divided(text: Text) -> Divided:
    """In one of the threads for texts of requests. Raises Indivisible."""
    return await asyncio.get_running_loop().run_in_executor(TEXTS, text.divided)


def refused(reason: str) -> InvalidRequest:
    why = f"The text is too long for the model and cannot be fitted: {reason}"
    return InvalidRequest(why, param="messages", code="context_length_exceeded")


# --- files ------------------------------------------------------------------------------------------------------------
def begin(file: StoredFile) -> Document:
    """Take the file's text in, in the background; returns its document at once. Raises InvalidRequest."""
    document = claimed(file)
    if document.state == DocumentState.UPLOADED:
        document_id = document.pk
        transaction.on_commit(lambda: FILES.submit(background, document_id).add_done_callback(report))
    return document


def claimed(file: StoredFile) -> Document:
    """The file's document, made if there is none; one that failed is to be tried again. Raises InvalidRequest."""
    document = Document.objects.light().filter(file=file).first()
    if document is None:
        if not make_room(file.user_id):
            most = settings.DOCUMENTS_PER_USER
            raise InvalidRequest(f"You have {most} documents; delete some files first.", code="too_many_documents")
        given = {"user_id": file.user_id, "title": file.filename}
        document, _ = Document.objects.get_or_create(file=file, defaults=given)
    failed = Document.objects.filter(pk=document.pk, state=DocumentState.ERROR)
    if failed.update(state=DocumentState.UPLOADED, reason="", alive_until=None):
        document.refresh_from_db()
    return document


def background(document_id: str) -> None:
    if not threading.main_thread().is_alive():
        return  # the program ends: another one's sweep finds it
    try:
        process(document_id)
    finally:
        connection.close()


def report(done: "Future[None]") -> None:
    if error := done.exception():
        logger.error("a document was not taken in", exc_info=error)


def process(document_id: str) -> None:
    """Take in the text of a document's file, unless somebody does or did; in any thread that may wait."""
    lease = take(document_id)
    if lease is None:
        return
    file = StoredFile.objects.filter(document=document_id).first()
    if file is None:
        return
    try:
        text = Text.of(text_of(file), Splitting())
        write(lease, text, text.divided())
    except Indivisible as error:
        empty = str(error) in NO_TEXT
        fail(lease, DocumentState.EMPTY if empty else DocumentState.ERROR, str(error))


def text_of(file: StoredFile) -> str:
    """Raises Indivisible."""
    if file.status == Status.ERROR:
        raise Indivisible(file.reason)
    try:
        return files.text_path_of(file.pk).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Indivisible("It has no text, or this home does not have it.") from None


def sweep() -> int:
    """Take up what was left by processes that died; returns how many. The text of a request is not kept: its document
    goes, and the next request with it begins anew.
    """
    before = timezone.now() - timedelta(seconds=2 * settings.DOCUMENT_SECONDS)
    left = Document.objects.left().filter(created_at__lte=before)
    left.filter(file=None).delete()
    found = list(left.exclude(file=None).order_by(F("created_at")).values_list("pk", flat=True)[:AT_A_TIME])
    for document_id in found:
        process(document_id)
    return len(found)
